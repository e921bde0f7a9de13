package host_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
)

// told remembers acknowledgements.
type told struct {
	mu   sync.Mutex
	acks []interceptor.Ack
}

func (a *told) note(ack *interceptor.Ack) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acks = append(a.acks, *ack)
}

// one fails the test unless there was exactly one acknowledgement, of a record
// that is nowhere: a topic and a partition, and -1 for the rest.
func (a *told) one(t *testing.T, topic string, partition int32) interceptor.Ack {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.acks) != 1 {
		t.Fatalf("%d acknowledgements, want 1: %+v", len(a.acks), a.acks)
	}
	ack := a.acks[0]
	if ack.Record.Topic != topic || ack.Partition != partition || ack.Offset != klamm.NoOffset || !ack.Record.Timestamp.IsZero() || ack.Err == nil || ack.Code == 0 {
		t.Fatalf("acknowledged %+v; want topic %q, partition %d, no offset, no timestamp, an error and a code", ack, topic, partition)
	}
	return ack
}

// refuse has the broker refuse whatever is written.
func refuse(t *testing.T, b *testBroker, err *kerr.Error) {
	t.Helper()
	b.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err, Count: -1})
}

func TestC007_FailureNamesTheChosenPartition(t *testing.T) {
	b := startBroker(t, 3, "orders")
	refuse(t, b, kerr.InvalidRecord)
	var acks told
	p := producerOf(t, newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{ack: acks.note})))
	// murmur2 of "21" among three is 0; "foo" is 2.
	r, err := p.Send(within(t), &klamm.Record{Topic: "orders", Key: []byte("foo")})
	if err == nil || r.Outcome != klamm.Failed || r.Partition != 2 || r.Offset != klamm.NoOffset || !r.Timestamp.IsZero() {
		t.Errorf("result %+v, error %v; want a failure in partition 2", r, err)
	}
	acks.one(t, "orders", 2)
}

func TestC009_FailureNamesTheDemandedPartition(t *testing.T) {
	b := startBroker(t, 3, "orders")
	for _, tt := range []struct {
		name string
		rec  klamm.Record
	}{
		{"refused by the broker", klamm.Record{Topic: "orders", Target: klamm.ToPartition(1)}},
		{"of a topic that nobody knows", klamm.Record{Topic: "nowhere", Target: klamm.ToPartition(1)}},
		{"out of range", klamm.Record{Topic: "orders", Target: klamm.ToPartition(7)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if strings.HasPrefix(tt.name, "refused") {
				refuse(t, b, kerr.InvalidRecord)
			}
			cfg := chainOf("*")
			cfg.Producer.MaxBlock = host.Duration(50 * time.Millisecond)
			var acks told
			p := producerOf(t, newHost(t, b, cfg, host.WithInterceptor("j", judge{ack: acks.note})))
			want, _ := tt.rec.Target.Partition()
			if r, err := p.Send(within(t), &tt.rec); err == nil || r.Partition != want {
				t.Errorf("result %+v, error %v; want a failure in partition %d", r, err, want)
			}
			acks.one(t, tt.rec.Topic, want)
		})
	}
}

// C017: the failure of a record that a plugin sent elsewhere names the new topic.
func TestC017_FailureNamesTheChangedTopic(t *testing.T) {
	b := startBroker(t, 1, "orders")
	cfg := chainOf("orders")
	cfg.Producer.MaxBlock = host.Duration(50 * time.Millisecond)
	var acks told
	p := producerOf(t, newHost(t, b, cfg, host.WithInterceptor("j", judge{
		send: func(it *interceptor.Item) { it.Record.Topic = "orders.eu" },
		ack:  acks.note,
	})))
	if r, err := p.Send(within(t), &klamm.Record{Topic: "orders"}); err == nil || r.Topic != "orders.eu" {
		t.Errorf("result %+v, error %v; want a failure in orders.eu, which is not there", r, err)
	}
	acks.one(t, "orders.eu", klamm.NoPartition)
}

func TestC010_FailureNamesTheReassignedPartition(t *testing.T) {
	b := startBroker(t, 3, "orders")
	refuse(t, b, kerr.InvalidRecord)
	var acks told
	p := producerOf(t, newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{
		send: func(it *interceptor.Item) { it.Record.Target = klamm.ToPartition(2) },
		ack:  acks.note,
	})))
	if r, err := p.Send(within(t), &klamm.Record{Topic: "orders", Target: klamm.ToPartition(0)}); err == nil || r.Partition != 2 {
		t.Errorf("result %+v, error %v; want a failure in partition 2", r, err)
	}
	acks.one(t, "orders", 2)
}

// A nil record is refused before any plugin: Java tells each interceptor of a
// failure without metadata, which a plugin could only mistake for a record.
func TestC011_NilRecord(t *testing.T) {
	b := startBroker(t, 1, "orders")
	var calls atomic.Int32
	p := producerOf(t, newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{
		send: func(*interceptor.Item) { calls.Add(1) }, ack: func(*interceptor.Ack) { calls.Add(1) },
	})))
	if _, err := p.Send(within(t), nil); err == nil || !strings.Contains(err.Error(), "nil") {
		t.Errorf("error %v, want one that says nil", err)
	}
	if err := p.SendAsync(within(t), nil, func(klamm.Result) { t.Error("the callback of a refused record was called") }); err == nil {
		t.Error("a nil record was accepted")
	}
	if _, err := p.Send(within(t), &klamm.Record{Topic: "orders"}); err != nil {
		t.Errorf("the next record: %v", err)
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("the interceptor was called %d times, want twice, for the good record", n)
	}
	balanced(t, p.Counts(), 1)
}

// Brokers that keep answering for now. One that twice knows of no such topic
// settles it sooner, see TestUnknownTopicFailsTheRecordAlone.
func TestC013_MetadataNeverArrives(t *testing.T) {
	b := startBroker(t, 1, "nowhere")
	b.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "nowhere", Err: kerr.LeaderNotAvailable, Count: -1})
	const maxBlock = 200 * time.Millisecond
	cfg := chainOf("nowhere")
	cfg.Producer.MaxBlock = host.Duration(maxBlock)
	var acks told
	p := producerOf(t, newHost(t, b, cfg, host.WithInterceptor("j", judge{ack: acks.note})))
	began := time.Now()
	done := make(chan klamm.Result, 2)
	if err := p.SendAsync(within(t), &klamm.Record{Topic: "nowhere", Value: []byte("v")}, func(r klamm.Result) { done <- r }); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < maxBlock {
		t.Errorf("given up after %v, max_block is %v", took, maxBlock)
	}
	r := <-done
	if r.Err == nil || r.Topic != "nowhere" || r.Partition != klamm.NoPartition || r.Offset != klamm.NoOffset || !r.Timestamp.IsZero() {
		t.Errorf("result %+v; want a failure that names the topic, and -1 for the rest", r)
	}
	acks.one(t, "nowhere", klamm.NoPartition)
	if len(done) > 0 {
		t.Error("the callback was called twice")
	}
}

// Headers are copied at Send: what the caller does to them later is not sent, and
// what interceptors are told of are the same.
func TestC019_HeadersChangedAfterSend(t *testing.T) {
	b := startBroker(t, 1, "orders")
	cfg := chainOf("orders")
	cfg.Producer.Linger = host.Duration(time.Hour)
	cfg.Producer.DeliveryTimeout = host.Duration(2 * time.Hour)
	var seen atomic.Value
	p := producerOf(t, newHost(t, b, cfg, host.WithInterceptor("j", judge{
		ack: func(a *interceptor.Ack) {
			seen.Store(fmt.Sprint(a.Record.Headers[0].Key, "=", string(a.Record.Headers[0].Value)))
		},
	})))
	headers := []klamm.Header{{Key: "h", Value: []byte("sent")}}
	if err := p.SendAsync(within(t), &klamm.Record{Topic: "orders", Headers: headers}, nil); err != nil {
		t.Fatal(err)
	}
	copy(headers[0].Value, "LATE")
	headers[0] = klamm.Header{Key: "other"}
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	recs := readTopic(t, b, "orders")
	if len(recs) != 1 || len(recs[0].Headers) != 1 || recs[0].Headers[0].Key != "h" || string(recs[0].Headers[0].Value) != "sent" {
		t.Errorf("delivered %+v, want the header as it was sent", recs)
	}
	if got := seen.Load(); got != "h=sent" {
		t.Errorf("on_acknowledgement saw %v, want h=sent", got)
	}
}

// While on_acknowledgement stands still, records go on to the brokers: only the
// number of acknowledgement slots bounds how far.
func TestC025_SlowAcknowledgement(t *testing.T) {
	b := startBroker(t, 2, "orders")
	release := make(chan struct{})
	var acks atomic.Int32
	p := producerOf(t, newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{ack: func(*interceptor.Ack) {
		if acks.Add(1) == 1 {
			<-release
		}
	}})))
	send := func(partition int32, n int) {
		for i := range n {
			if err := p.SendAsync(within(t), &klamm.Record{Topic: "orders", Target: klamm.ToPartition(partition), Value: value(i)}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(0, 1)
	for acks.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	send(1, 1000)
	if recs := readUntil(t, b, "orders", 1001); len(recs) != 1001 {
		t.Errorf("%d records were written, want 1001", len(recs))
	}
	if n := acks.Load(); n != 1 {
		t.Errorf("%d records went through on_acknowledgement, want 1", n)
	}
	close(release)
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	if n := acks.Load(); n != 1001 {
		t.Errorf("%d acknowledgements, want 1001", n)
	}
}

// With Send both chains have run when it returns.
func TestC026_BadPartitionRunsBothChains(t *testing.T) {
	b := startBroker(t, 2, "orders")
	var order []string // Send returns after both: no lock
	p := producerOf(t, newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{
		send: func(*interceptor.Item) { order = append(order, "on_send") },
		ack:  func(*interceptor.Ack) { order = append(order, "on_acknowledgement") },
	})))
	if _, err := p.Send(within(t), &klamm.Record{Topic: "orders", Target: klamm.ToPartition(9)}); !errors.Is(err, klamm.ErrInvalidPartition) {
		t.Errorf("error %v, want ErrInvalidPartition", err)
	}
	if got := strings.Join(order, " "); got != "on_send on_acknowledgement" {
		t.Errorf("hooks: %s", got)
	}
}

// Before the flush nothing is acknowledged, since linger is an hour; after it all
// is.
func TestC027_AcknowledgedByFlush(t *testing.T) {
	b := startBroker(t, 2, "orders")
	cfg := chainOf("orders")
	cfg.Producer.Linger = host.Duration(time.Hour)
	cfg.Producer.DeliveryTimeout = host.Duration(2 * time.Hour)
	var sends, acks atomic.Int32
	p := producerOf(t, newHost(t, b, cfg, host.WithInterceptor("j", judge{
		send: func(*interceptor.Item) { sends.Add(1) }, ack: func(*interceptor.Ack) { acks.Add(1) },
	})))
	const n = 50
	for i := range n {
		if err := p.SendAsync(within(t), &klamm.Record{Topic: "orders", Key: value(i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for sends.Load() < n { // the pump judges a partial block by itself
		time.Sleep(time.Millisecond)
	}
	if got := acks.Load(); got != 0 {
		t.Errorf("%d acknowledgements before the flush", got)
	}
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	if s, a := sends.Load(), acks.Load(); s != n || a != n {
		t.Errorf("after the flush %d records were judged and %d acknowledged, want %d of each", s, a, n)
	}
}

func TestC029_FailedRecordIsNotConsumed(t *testing.T) {
	b := startBroker(t, 1, "orders")
	cfg := chainOf("orders")
	c := cfg.Chain["c"]
	c.OnConsume = []string{"j"}
	cfg.Chain["c"] = c
	var consumed []string
	h := newHost(t, b, cfg, host.WithInterceptor("j", judge{
		send: func(it *interceptor.Item) {
			if string(it.Record.Key) == "bad" {
				it.Fail(errors.New("not today"))
			}
		},
		consume: func(it *interceptor.Item) { consumed = append(consumed, string(it.Record.Key)) },
	}))
	p := producerOf(t, h)
	for _, r := range []klamm.Record{
		{Key: []byte("good")}, {Key: []byte("bad")}, {Key: []byte("far"), Target: klamm.ToPartition(5)}, {Key: []byte("last")},
	} {
		r.Topic = "orders"
		_, _ = p.Send(within(t), &r) // two of them fail, as C026 shows
	}
	err := h.Read(within(t), []string{"orders"}, host.ReadOptions{StopAtEnd: true}, func(*klamm.Record) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(consumed, " "); got != "good last" {
		t.Errorf("on_consume saw %q, want good and last", got)
	}
}

func TestC030_EveryPluginSeesTheBrokersCode(t *testing.T) {
	b := startBroker(t, 1, "orders")
	refuse(t, b, kerr.InvalidRecord)
	cfg := chainOf("orders")
	c := cfg.Chain["c"]
	c.OnSend = []string{"a", "b"}
	cfg.Chain["c"] = c
	var first, second told
	p := producerOf(t, newHost(t, b, cfg, host.WithInterceptor("a", judge{ack: first.note}), host.WithInterceptor("b", judge{ack: second.note})))
	_, err := p.Send(within(t), &klamm.Record{Topic: "orders"})
	var broker *klamm.BrokerError
	if !errors.As(err, &broker) || broker.Code != klamm.CodeInvalidRecord {
		t.Errorf("the sender got %v, want INVALID_RECORD", err)
	}
	for _, acks := range []*told{&first, &second} {
		if a := acks.one(t, "orders", 0); a.Code != int32(klamm.CodeInvalidRecord) {
			t.Errorf("a plugin saw code %d, want %d", a.Code, klamm.CodeInvalidRecord)
		}
	}
}

// Close from a callback gives up what is not written yet, as close(0) in Java,
// and does not wait for itself.
func TestC039_CloseFromACallback(t *testing.T) {
	b := startBroker(t, 1, "orders")
	h := newHost(t, b, host.Config{})
	p := producerOf(t, h)
	returned := make(chan error, 1)
	if err := p.SendAsync(within(t), &klamm.Record{Topic: "orders"}, func(klamm.Result) { returned <- p.Close(within(t)) }); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-returned:
		if err != nil {
			t.Errorf("Close: %v", err)
		}
	case <-within(t).Done():
		t.Fatal("Close waits for its own callback")
	}
	if _, err := p.Send(within(t), &klamm.Record{Topic: "orders"}); !errors.Is(err, klamm.ErrClosed) {
		t.Errorf("Send after Close: %v, want ErrClosed", err)
	}
	if err := p.Close(within(t)); err != nil {
		t.Errorf("Close from outside: %v", err)
	}
	balanced(t, p.Counts(), 1)
}

// Flush from a callback would wait for the callback. It says so instead.
func TestFlushFromACallback(t *testing.T) {
	b := startBroker(t, 1, "orders")
	p := producerOf(t, newHost(t, b, host.Config{}))
	flushed := make(chan error, 1)
	if err := p.SendAsync(within(t), &klamm.Record{Topic: "orders"}, func(klamm.Result) { flushed <- p.Flush(within(t)) }); err != nil {
		t.Fatal(err)
	}
	if err := <-flushed; err == nil || !strings.Contains(err.Error(), "callback") {
		t.Errorf("Flush: %v, want an error that names the callback", err)
	}
}

// The host cannot reach a broker after its plugin was loaded: nothing is left.
func TestC043_HostThatCannotStartLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	cfg := host.Config{
		State:  map[string]host.StateConfig{"ids": {Backend: "memory"}},
		Plugin: map[string]host.PluginConfig{"dedup": {Module: "builtin:dedup", State: "ids", Config: map[string]any{"id": []any{"key"}, "window": "1h"}}},
		Chain:  map[string]host.ChainConfig{"c": {Topics: []string{"orders"}, OnSend: []string{"dedup"}}},
	}
	cfg.Cluster.BootstrapServers = []string{"127.0.0.1:1"}
	cfg.Cluster.DialTimeout = host.Duration(200 * time.Millisecond)
	if h, err := host.New(cfg); err == nil || h != nil {
		t.Errorf("host %v, error %v without a broker", h, err)
	}
	goleak.VerifyNone(t, before)
}

// Hosts that start and stop leave no goroutine behind.
func TestC045_GoroutinesEnd(t *testing.T) {
	b := startBroker(t, 1, "orders")
	before := goleak.IgnoreCurrent()
	for range 3 {
		cfg := chainOf("orders")
		cfg.Cluster.BootstrapServers = b.Addrs()
		h, err := host.New(cfg, host.WithInterceptor("j", judge{}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := producerOf(t, h).Send(within(t), &klamm.Record{Topic: "orders"}); err != nil {
			t.Fatal(err)
		}
		if err := h.Close(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	goleak.VerifyNone(t, before)
}

// A Send that waits for room is not in: a flush does not wait for it, and goes on
// when it is cancelled.
func TestC094_FlushAndACancelledSend(t *testing.T) {
	b := startBroker(t, 1, "orders")
	stall := make(chan struct{})
	b.Cluster(t).ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster(t).KeepControl()
		b.Cluster(t).SleepControl(func() { <-stall })
		return nil, nil, false
	})
	cfg := host.Config{}
	cfg.Producer.Slots = 1
	p := producerOf(t, newHost(t, b, cfg))
	res := newResults()
	if err := p.SendAsync(within(t), &klamm.Record{Topic: "orders"}, res.of(0)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(within(t))
	blocked, flushed := make(chan error, 1), make(chan error, 1)
	go func() { blocked <- p.SendAsync(ctx, &klamm.Record{Topic: "orders"}, res.of(1)) }()
	go func() { flushed <- p.Flush(within(t)) }()
	cancel()
	if err := <-blocked; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled Send: %v", err)
	}
	close(stall)
	if err := <-flushed; err != nil {
		t.Errorf("Flush: %v", err)
	}
	res.complete(t, 1)
	balanced(t, p.Counts(), 1)
}
