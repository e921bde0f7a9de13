package host_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/hosttest"
	"github.com/klamm-io/klamm/interceptor"
)

// A configuration in Go. With real brokers BootstrapServers names them, and
// WithEmbedded goes.
func ExampleNew() {
	ctx := context.Background()
	h, err := host.New(host.Config{
		Cluster: host.ClusterConfig{BootstrapServers: []string{"embedded"}},
		Producer: host.ProducerConfig{
			Compression:     host.CompressionZstd,
			Linger:          host.Duration(20 * time.Millisecond),
			DeliveryTimeout: host.Duration(time.Minute),
		},
		State: map[string]host.StateConfig{"ids": {}},
		Plugin: map[string]host.PluginConfig{"dedup": {
			Module: "builtin:dedup", State: "ids", Config: map[string]any{"id": "key", "window": "24h"},
		}},
		Chain: map[string]host.ChainConfig{"orders": {Topics: []string{"orders"}, OnSend: []string{"dedup"}}},
	}, host.WithEmbedded(hosttest.Embedded))
	if err != nil {
		log.Fatal(err) // all that is wrong, at once
	}
	defer h.Close(ctx)
	p, err := h.Producer()
	if err != nil {
		log.Fatal(err)
	}
	results, err := p.SendBatch(ctx, []klamm.Record{
		{Topic: "orders", Key: []byte("o-1"), Value: []byte("42")},
		{Topic: "orders", Key: []byte("o-1"), Value: []byte("42")},
		{Topic: "orders", Key: []byte("o-2"), Value: make([]byte, 2<<20)},
	})
	for _, r := range results {
		fmt.Println(r.Outcome, r.Reason, errors.Is(r.Err, klamm.ErrRecordTooLarge))
	}
	fmt.Println(klamm.ClassOf(err))
	// Output:
	// out  false
	// dropped duplicate false
	// failed  true
	// application
}

type noEmpty struct{}

func (noEmpty) OnSend(_ context.Context, items []*interceptor.Item) error {
	for _, it := range items {
		if len(it.Record.Value) == 0 {
			it.Drop("empty")
		}
	}
	return nil
}

// A native Go interceptor stands in a chain beside plugins.
func ExampleHost_Producer() {
	ctx := context.Background()
	h, err := host.New(host.Config{
		Cluster: host.ClusterConfig{BootstrapServers: []string{"embedded"}},
		Chain:   map[string]host.ChainConfig{"all": {Topics: []string{"*"}, OnSend: []string{"no-empty"}}},
	}, host.WithEmbedded(hosttest.Embedded), host.WithInterceptor("no-empty", noEmpty{}))
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close(ctx)
	p, err := h.Producer()
	if err != nil {
		log.Fatal(err)
	}
	for _, v := range []string{"a", "", "b"} {
		err := p.SendAsync(ctx, &klamm.Record{Topic: "orders", Value: []byte(v)}, func(r klamm.Result) {
			fmt.Printf("%q: %s\n", v, r.Outcome)
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%+v\n", p.Counts())
	// Unordered output:
	// "": dropped
	// "a": out
	// "b": out
	// {In:3 Out:2 Dropped:1 DeadLettered:0 Failed:0 InFlight:0}
}

// What is sent within Transaction is seen by readers of committed records all at
// once, or not at all. The class of an error tells what to do about it.
func ExampleProducer_Transaction() {
	ctx := context.Background()
	h, err := host.New(host.Config{
		Cluster:  host.ClusterConfig{BootstrapServers: []string{"embedded"}},
		Producer: host.ProducerConfig{TransactionalID: "transfers"},
	}, host.WithEmbedded(hosttest.Embedded))
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close(ctx)
	p, err := h.Producer()
	if err != nil {
		log.Fatal(err)
	}
	balance := 100
	transfer := func(amount int) error {
		return p.Transaction(ctx, func(ctx context.Context) error {
			for _, account := range []string{"alice", "bob"} {
				rec := klamm.Record{Topic: "accounts", Key: []byte(account), Value: fmt.Append(nil, amount)}
				if err := p.SendAsync(ctx, &rec, nil); err != nil {
					return err
				}
				amount = -amount
			}
			if amount > balance {
				return errors.New("too much") // both records are taken back
			}
			balance -= amount
			return nil
		})
	}
	for _, amount := range []int{70, 50} {
		switch err := transfer(amount); klamm.ClassOf(err) {
		case klamm.ClassNone:
			fmt.Println(amount, "committed")
		case klamm.ClassFatal: // another producer has taken over: end
			log.Fatal(err)
		default: // aborted
			fmt.Println(amount, "aborted:", err)
		}
	}
	// Output:
	// 70 committed
	// 50 aborted: too much
}
