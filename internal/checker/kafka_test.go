package checker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/config"
)

func startBroker(t *testing.T) *broker.Broker {
	t.Helper()
	b, err := broker.Start(t.Context(), &config.Embedded{Partitions: 3, Topics: []string{"t"}}, broker.Options{Brokers: 2})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

// produce writes records as one transaction.
func produce(t *testing.T, b *broker.Broker, end kgo.TransactionEndTry, recs ...klamm.Record) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.TransactionalID("x"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(t, err)
	defer cl.Close()
	must(t, cl.BeginTransaction())
	for _, r := range recs {
		out := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		must(t, cl.ProduceSync(t.Context(), out).FirstErr())
	}
	must(t, cl.EndTransaction(t.Context(), end))
}

func TestKafkaReadsBothIsolations(t *testing.T) {
	b := startBroker(t)
	make := func(partition int32, n int) klamm.Record {
		r := Payload{Topic: "t", ID: MakeID(0, int(partition), n), Dedup: 5, Size: 50}.Record()
		r.Partition = partition
		return r
	}
	damaged := make(1, 2)
	damaged.Value[40]++
	produce(t, b, kgo.TryCommit, make(0, 0), make(1, 0))
	produce(t, b, kgo.TryAbort, make(0, 1), make(1, 1))
	produce(t, b, kgo.TryCommit, make(0, 2), damaged)
	produce(t, b, kgo.TryAbort, make(0, 3), make(2, 0)) // nothing committed follows
	k := &Kafka{Topic: "t", Brokers: b.Addrs(), Quiet: time.Millisecond}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, tt := range []struct {
		name      string
		isolation Isolation
		want      map[int32]int
	}{
		{"uncommitted", Uncommitted, map[int32]int{0: 4, 1: 3, 2: 1}},
		{"committed", Committed, map[int32]int{0: 2, 1: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, broken := map[int32]int{}, 0
			ends, err := k.Read(ctx, tt.isolation, func(s *Seen) error {
				got[s.Partition]++
				if s.Problem != nil {
					broken++
				} else if s.ID.Key() != int(s.Partition) || s.Dedup != 5 || s.ProducerID < 0 {
					t.Errorf("read %+v in partition %d", s.Payload, s.Partition)
				}
				return nil
			})
			must(t, err)
			for p := range int32(3) {
				if got[p] != tt.want[p] || ends[p] <= int64(tt.want[p]) && tt.want[p] > 0 {
					t.Errorf("partition %d: %d records to offset %d, want %d", p, got[p], ends[p], tt.want[p])
				}
			}
			if broken != 1 {
				t.Errorf("%d records are broken, want 1", broken)
			}
		})
	}
	t.Run("unknown topic", func(t *testing.T) {
		if _, err := (&Kafka{Topic: "u", Brokers: b.Addrs()}).Read(ctx, Committed, nil); err == nil {
			t.Error("a topic that does not exist was read")
		}
	})
	t.Run("error of each", func(t *testing.T) {
		enough := errors.New("enough")
		if _, err := k.Read(ctx, Committed, func(*Seen) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("got %v", err)
		}
	})
}
