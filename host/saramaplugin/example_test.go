package saramaplugin_test

import (
	"context"
	"fmt"
	"log"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/hosttest"
	"github.com/klamm-io/klamm/host/saramaplugin"
)

// A program with a sarama producer gets duplicates dropped with two lines more;
// its channels stay as they are.
func Example() {
	cfg := sarama.NewConfig()
	cfg.Producer.Return.Successes = true

	// The first line: mostly host.Open(ctx, "config.toml").
	h, err := host.New(host.Config{
		Cluster: host.ClusterConfig{BootstrapServers: []string{"embedded"}},
		State:   map[string]host.StateConfig{"ids": {}},
		Plugin: map[string]host.PluginConfig{"dedup": {
			Module: "builtin:dedup", State: "ids", Config: map[string]any{"id": "key", "window": "24h"},
		}},
		Chain: map[string]host.ChainConfig{"orders": {Topics: []string{"orders"}, OnSend: []string{"dedup"}}},
	}, host.WithEmbedded(hosttest.Embedded))
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close(context.Background())

	p, err := sarama.NewAsyncProducer(h.Brokers(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	p, err = saramaplugin.WrapAsyncProducer(h, cfg, p) // the second line
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	for range 2 {
		p.Input() <- &sarama.ProducerMessage{Topic: "orders", Key: sarama.StringEncoder("o-1"), Value: sarama.StringEncoder("42")}
		select {
		case msg := <-p.Successes():
			if plugin, reason, dropped := saramaplugin.DroppedBy(msg); dropped {
				fmt.Printf("dropped by %s: %s\n", plugin, reason)
			} else {
				fmt.Println("written at offset", msg.Offset)
			}
		case err := <-p.Errors():
			fmt.Println(err)
		}
	}
	// Output:
	// written at offset 0
	// dropped by dedup: duplicate
}

// A consumer group's handler is wrapped in one line.
func ExampleWrapConsumerGroupHandler() {
	var h *host.Host                        // host.Open(ctx, "config.toml")
	var group sarama.ConsumerGroup          // sarama.NewConsumerGroup(...)
	var handler sarama.ConsumerGroupHandler // the program's own
	consume := func(ctx context.Context) error {
		return group.Consume(ctx, []string{"orders"}, saramaplugin.WrapConsumerGroupHandler(h, handler))
	}
	_ = consume
}
