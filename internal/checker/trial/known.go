package trial

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// known waits until each broker knows the topic, which Apache Kafka's brokers do
// not as soon as it is created: a trial that is over at once asks any of them.
func known(ctx context.Context, addresses []string, topic string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addresses...))
	if err != nil {
		return err
	}
	defer cl.Close()
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	cluster, err := req.RequestWith(ctx, cl)
	if err != nil {
		return fmt.Errorf("ask for the brokers that should know topic %q: %w", topic, err)
	}
	for _, b := range cluster.Brokers {
		for {
			resp, err := req.RequestWith(ctx, cl.Broker(int(b.NodeID)))
			if err != nil {
				return fmt.Errorf("ask broker %d whether it knows topic %q: %w", b.NodeID, topic, err)
			}
			code := kerr.ErrorForCode(resp.Topics[0].ErrorCode)
			if code == nil {
				break
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("broker %d does not know topic %q yet: %w (its last answer: %w); its log may tell why", b.NodeID, topic, ctx.Err(), code)
			}
		}
	}
	return nil
}
