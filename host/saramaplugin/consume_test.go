package saramaplugin_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/saramaplugin"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/broker"
)

// fill writes n records, key i, to partition 0.
func fill(t *testing.T, b *broker.Broker, topic string, from, n int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := from; i < from+n; i++ {
		rec := &kgo.Record{Key: []byte(strconv.Itoa(i)), Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}}}
		cl.Produce(context.Background(), rec, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
}

// committed asks the broker for a group's offset in partition 0.
func committed(t *testing.T, b *broker.Broker, group, topic string) int64 {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	offsets, err := kadm.NewClient(cl).FetchOffsets(within(t), group)
	if err != nil {
		t.Fatal(err)
	}
	o, ok := offsets.Lookup(topic, 0)
	if !ok {
		return -1
	}
	return o.At
}

// handler marks what it is told to.
type handler struct {
	handle func(sarama.ConsumerGroupSession, *sarama.ConsumerMessage) bool // false ends the claim
}

func (handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h handler) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for msg := range c.Messages() {
		if !h.handle(s, msg) {
			return nil
		}
	}
	return nil
}

// consume runs a group's session until the handler ends it, and returns the
// errors that sarama reports.
func consume(t *testing.T, b *broker.Broker, h sarama.ConsumerGroupHandler, topic string) []error {
	t.Helper()
	cfg := settings()
	cfg.Consumer.Return.Errors = true
	g, err := sarama.NewConsumerGroup(b.Addrs(), "group", cfg)
	if err != nil {
		t.Fatal(err)
	}
	var errs []error
	var reading sync.WaitGroup
	reading.Go(func() {
		for err := range g.Errors() {
			errs = append(errs, err)
		}
	})
	if err := g.Consume(within(t), []string{topic}, h); err != nil {
		t.Errorf("consume: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	reading.Wait()
	return errs
}

// consumeKeys: of six, 1 is edited, 2 dropped, 3 dead-lettered, 5 dropped.
func consumeKeys(it *interceptor.Item) {
	n, _ := strconv.Atoi(string(it.Record.Key))
	switch n % 6 {
	case 1:
		it.Record.Value = []byte("edited")
		it.Record.Headers = append(it.Record.Headers[:1:1], klamm.Header{Key: "seen", Value: []byte("once")})
	case 2, 5:
		it.Drop("odd")
	case 3:
		it.DeadLetter("sick")
	}
}

// Dropped and dead-lettered messages at the end advance the commit too.
func TestGroupCommitsPastWhatPluginsEnd(t *testing.T) {
	b := startBroker(t, 1, "in", "dead")
	const n = 600
	fill(t, b, "in", 0, n)
	h := newHost(t, b, chainOf("in"), host.WithInterceptor("j", judge{consume: consumeKeys}))
	got := 0
	errs := consume(t, b, saramaplugin.WrapConsumerGroupHandler(h, handler{func(s sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) bool {
		i, _ := strconv.Atoi(string(msg.Key))
		want := "v"
		if i%6 == 1 {
			want = "edited"
		}
		if m := i % 6; m != 0 && m != 1 && m != 4 || string(msg.Value) != want || (len(msg.Headers) == 2) != (want == "edited") || msg.Offset != int64(i) {
			t.Errorf("message %d@%d is %q with %d headers", i, msg.Offset, msg.Value, len(msg.Headers))
		}
		got++
		s.MarkMessage(msg, "")
		return got < n/2
	}}), "in")
	if len(errs) > 0 || got != n/2 {
		t.Fatalf("%d messages, errors %v; want %d and none", got, errs, n/2)
	}
	if at := committed(t, b, "group", "in"); at != n {
		t.Fatalf("committed %d, want %d: the last message was dropped and those before it handled", at, n)
	}
	if dead := readTopic(t, b, "dead"); len(dead) != n/6 {
		t.Fatalf("%d dead letters, want %d", len(dead), n/6)
	}
}

// What the handler has not marked is never committed, whatever was dropped
// behind it.
func TestGroupNeverCommitsWhatIsNotHandled(t *testing.T) {
	b := startBroker(t, 1, "in", "dead")
	const n, last = 600, 300 // 300 is handed on and not marked
	fill(t, b, "in", 0, n)
	h := newHost(t, b, chainOf("in"), host.WithInterceptor("j", judge{consume: consumeKeys}))
	consume(t, b, saramaplugin.WrapConsumerGroupHandler(h, handler{func(s sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) bool {
		if msg.Offset < last {
			s.MarkMessage(msg, "")
		}
		return msg.Offset < last
	}}), "in")
	if at := committed(t, b, "group", "in"); at != last {
		t.Fatalf("committed %d, want %d", at, last)
	}
}

func TestGroupEndsAtAFailedMessage(t *testing.T) {
	b := startBroker(t, 1, "in", "dead")
	fill(t, b, "in", 0, 10)
	h := newHost(t, b, chainOf("in"), host.WithInterceptor("j", judge{consume: func(it *interceptor.Item) {
		if string(it.Record.Key) == "7" {
			it.Fail(errNotToday)
		}
	}}))
	errs := consume(t, b, saramaplugin.WrapConsumerGroupHandler(h, handler{func(s sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) bool {
		s.MarkMessage(msg, "")
		return true
	}}), "in")
	var perr *klamm.PluginError
	if err := errors.Join(errs...); !errors.As(err, &perr) || !errors.Is(err, errNotToday) {
		t.Fatalf("errors %v, want a *klamm.PluginError", errs)
	}
	if at := committed(t, b, "group", "in"); at != 7 {
		t.Fatalf("committed %d, want 7", at)
	}
}

// Ids are kept for what was marked and released for what was not.
func TestGroupClaims(t *testing.T) {
	b := startBroker(t, 1, "in")
	fill(t, b, "in", 0, 4)
	fill(t, b, "in", 0, 4) // the same ids again
	cfg := dedupOf("in")
	c := cfg.Chain["c"]
	c.OnConsume, c.OnSend = c.OnSend, nil
	cfg.Chain["c"] = c
	h := newHost(t, b, cfg)
	var seen []string
	wrapped := saramaplugin.WrapConsumerGroupHandler(h, handler{func(s sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) bool {
		seen = append(seen, string(msg.Key))
		if len(seen) == 3 {
			return false // 2 is handed on and not marked
		}
		s.MarkMessage(msg, "")
		return len(seen) < 5
	}})
	consume(t, b, wrapped, "in")
	consume(t, b, wrapped, "in")
	if want := "[0 1 2 2 3]"; want != "["+join(seen)+"]" {
		t.Fatalf("the handler saw [%s], want %s", join(seen), want)
	}
}

func join(keys []string) (s string) {
	for i, k := range keys {
		if i > 0 {
			s += " "
		}
		s += k
	}
	return s
}

func partitionOf(t *testing.T, b *broker.Broker, h *host.Host, topic string) (sarama.PartitionConsumer, func()) {
	t.Helper()
	cfg := settings()
	cfg.Consumer.Return.Errors = true
	c, err := sarama.NewConsumer(b.Addrs(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	pc, err := c.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	return saramaplugin.WrapPartitionConsumer(h, pc), func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPartitionConsumer(t *testing.T) {
	b := startBroker(t, 1, "in", "dead")
	const n = 600
	fill(t, b, "in", 0, n)
	h := newHost(t, b, chainOf("in"), host.WithInterceptor("j", judge{consume: consumeKeys}))
	p, end := partitionOf(t, b, h, "in")
	defer end()
	for range n / 2 {
		msg := <-p.Messages()
		if i, _ := strconv.Atoi(string(msg.Key)); i%6 != 0 && i%6 != 1 && i%6 != 4 || (string(msg.Value) == "edited") != (i%6 == 1) {
			t.Fatalf("message %d is %q", i, msg.Value)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if dead := readTopic(t, b, "dead"); len(dead) < n/6 {
		t.Fatalf("%d dead letters, want %d", len(dead), n/6)
	}
}

func TestPartitionConsumerEndsAtAFailedMessage(t *testing.T) {
	b := startBroker(t, 1, "in", "dead")
	fill(t, b, "in", 0, 10)
	h := newHost(t, b, chainOf("in"), host.WithInterceptor("j", judge{consume: func(it *interceptor.Item) {
		if string(it.Record.Key) == "7" {
			it.Fail(errNotToday)
		}
	}}))
	p, end := partitionOf(t, b, h, "in")
	defer end()
	n := 0
	for range p.Messages() {
		n++
	}
	err := <-p.Errors()
	var perr *klamm.PluginError
	if n != 7 || !errors.As(err, &perr) {
		t.Fatalf("%d messages, then %v; want 7 and a *klamm.PluginError", n, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// Close while nobody reads, with messages under way.
func TestPartitionConsumerCloseUnread(t *testing.T) {
	b := startBroker(t, 1, "in", "dead")
	fill(t, b, "in", 0, 2000)
	var judged atomic.Int32
	first := make(chan struct{})
	h := newHost(t, b, chainOf("in"), host.WithInterceptor("j", judge{consume: func(*interceptor.Item) {
		if judged.Add(1) == 1 {
			close(first)
		}
	}}))
	p, end := partitionOf(t, b, h, "in")
	defer end()
	<-first
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}
