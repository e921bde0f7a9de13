package hosttest_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/hosttest"
)

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
