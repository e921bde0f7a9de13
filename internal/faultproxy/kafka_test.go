package faultproxy

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/config"
)

// TestClientsStayOnTheProxy has another client write and read, in a group, while
// replies are cut.
func TestClientsStayOnTheProxy(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	b, err := broker.Start(ctx, &config.Embedded{Partitions: 6, Topics: []string{"t"}}, broker.Options{Brokers: 3})
	must(t, err)
	defer b.Close()
	var requests atomic.Int64
	p, err := New(b.Addrs(), Options{Seed: 5, Observe: func(Request) { requests.Add(1) }})
	must(t, err)
	defer p.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(p.Addrs()...), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	must(t, err)
	defer cl.Close()

	brokers, err := kadm.NewClient(cl).ListBrokers(ctx)
	must(t, err)
	for _, d := range brokers {
		if addr := fmt.Sprintf("%s:%d", d.Host, d.Port); !slices.Contains(p.Addrs(), addr) {
			t.Errorf("broker %d is said to be at %s, past the proxy %v", d.NodeID, addr, p.Addrs())
		}
	}
	p.Add(Rule{Action: CutBeforeReply, Key: 0, Every: 3})
	for i := range 30 {
		must(t, cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: int32(i % 6), Value: fmt.Append(nil, i)}).FirstErr())
		if i%10 == 0 {
			b.Cluster().ShufflePartitionLeaders() // its hints (KIP-951) name addresses too
		}
	}
	for read := 0; read < 30; {
		fetches := cl.PollFetches(ctx)
		must(t, fetches.Err())
		read += fetches.NumRecords()
	}
	if n := p.Faults()["cut_before_reply"]; n == 0 || requests.Load() < 60 {
		t.Errorf("%d replies cut of %d requests", n, requests.Load())
	}
	if n := p.Cut(-1); n == 0 {
		t.Error("the client has no connection")
	}
}
