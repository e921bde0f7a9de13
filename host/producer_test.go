package host_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/internal/produce"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/sdk/abi"
)

func TestSendReturnsWhereTheRecordIs(t *testing.T) {
	b := startBroker(t, 3, "orders")
	p := producerOf(t, newHost(t, b, host.Config{}))
	for i := range 10 {
		r, err := p.Send(within(t), &klamm.Record{Topic: "orders", Target: klamm.ToPartition(2), Value: value(i)})
		if err != nil || r.Outcome != klamm.Written || r.Partition != 2 || r.Offset != int64(i) {
			t.Fatalf("record %d: %+v, error %v; want written to 2@%d", i, r, err, i)
		}
	}
	balanced(t, p.Counts(), 10)
}

// Every outcome at random: the identity holds, each record completes once, and
// the broker has exactly what was reported as written.
func TestIdentityUnderAllVerdicts(t *testing.T) {
	b := startBroker(t, 4, "orders", "orders.dead")
	cfg := chainOf("orders")
	c := cfg.Chain["c"]
	c.DeadLetterTopic = "orders.dead"
	cfg.Chain["c"] = c
	refusal := errors.New("not today")
	h := newHost(t, b, cfg, host.WithInterceptor("j", judge{send: func(it *interceptor.Item) {
		switch n, _ := strconv.Atoi(string(it.Record.Key)); n % 5 {
		case 1:
			it.Drop("odd")
		case 2:
			it.DeadLetter("sick")
		case 3:
			it.Fail(refusal)
		}
	}}))
	p := producerOf(t, h)
	const n = 5000
	res := newResults()
	for i := range n {
		if err := p.SendAsync(within(t), &klamm.Record{Topic: "orders", Key: strconv.AppendInt(nil, int64(i), 10), Value: value(i)}, res.of(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	got := res.complete(t, n)
	want := [5]klamm.Outcome{klamm.Written, klamm.Dropped, klamm.DeadLettered, klamm.Failed, klamm.Written}
	for i, r := range got {
		if r.Outcome != want[i%5] {
			t.Fatalf("record %d: outcome %v (%v), want %v", i, r.Outcome, r.Err, want[i%5])
		}
		if i%5 == 3 && (!errors.Is(r.Err, refusal) || r.Plugin != "j") {
			t.Fatalf("record %d: error %v of plugin %q, want %v of \"j\"", i, r.Err, r.Plugin, refusal)
		}
	}
	counts := p.Counts()
	balanced(t, counts, n)
	if counts.Out != 2*n/5 || counts.Dropped != n/5 || counts.DeadLettered != n/5 || counts.Failed != n/5 {
		t.Fatalf("counts %+v, want a fifth of %d of each and two of written", counts, n)
	}
	if recs := readTopic(t, b, "orders"); len(recs) != 2*n/5 {
		t.Fatalf("the topic has %d records, want %d", len(recs), 2*n/5)
	}
	for _, rec := range readTopic(t, b, "orders.dead") {
		if i, _ := strconv.Atoi(string(rec.Key)); i%5 != 2 || string(rec.Value) != string(value(i)) {
			t.Fatalf("dead letter %q = %q is not what was condemned", rec.Key, rec.Value)
		}
		if len(rec.Headers) == 0 {
			t.Fatalf("dead letter %q has no headers that tell why", rec.Key)
		}
	}
}

func TestOrderIsKeptPerPartition(t *testing.T) {
	b := startBroker(t, 3, "orders")
	p := producerOf(t, newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{})))
	const senders, each = 4, 2000
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for i := range each {
				rec := &klamm.Record{Topic: "orders", Key: fmt.Appendf(nil, "%d", s), Value: strconv.AppendInt(nil, int64(i), 10)}
				if err := p.SendAsync(context.Background(), rec, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	next := map[string]int{}
	byPartition := map[int32]int64{}
	for _, rec := range readTopic(t, b, "orders") {
		i, _ := strconv.Atoi(string(rec.Value))
		if want := next[string(rec.Key)]; i != want {
			t.Fatalf("sender %s: record %d at %d@%d, want %d", rec.Key, i, rec.Partition, rec.Offset, want)
		}
		next[string(rec.Key)]++
		byPartition[rec.Partition]++
	}
	for s := range senders {
		if next[strconv.Itoa(s)] != each {
			t.Fatalf("sender %d: %d records, want %d", s, next[strconv.Itoa(s)], each)
		}
	}
}

func TestC021_RetriesNeverRunAPluginAgain(t *testing.T) {
	b := startBroker(t, 1, "orders")
	var refused atomic.Int32
	b.Cluster(t).ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster(t).KeepControl()
		if refused.Add(1) > 3 {
			return nil, nil, false
		}
		return refuseProduce(req, kerr.NotLeaderForPartition.Code), nil, true
	})
	var judged, acked atomic.Int32
	h := newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{
		send: func(it *interceptor.Item) {
			judged.Add(1)
			it.Record.Headers = append(it.Record.Headers[:len(it.Record.Headers):len(it.Record.Headers)], klamm.Header{Key: "seen", Value: []byte("once")})
		},
		ack: func(a *interceptor.Ack) {
			acked.Add(1)
			if a.Flags&abi.AckRetried == 0 {
				t.Errorf("the acknowledgement does not say that the record was retried")
			}
		},
	}))
	p := producerOf(t, h)
	if _, err := p.Send(within(t), &klamm.Record{Topic: "orders", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	if refused.Load() < 4 || judged.Load() != 1 || acked.Load() != 1 {
		t.Fatalf("%d requests, %d on_send, %d on_acknowledgement; want 4, 1, 1", refused.Load(), judged.Load(), acked.Load())
	}
	recs := readTopic(t, b, "orders")
	if len(recs) != 1 || len(recs[0].Headers) != 1 {
		t.Fatalf("the topic has %d records, the first with %d headers; want 1 and 1", len(recs), len(recs[0].Headers))
	}
}

// refuseProduce answers every partition of a produce request with an error.
func refuseProduce(req kmsg.Request, code int16) kmsg.Response {
	in := req.(*kmsg.ProduceRequest)
	out := in.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range in.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
		for _, part := range topic.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.BaseOffset = part.Partition, code, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		out.Topics = append(out.Topics, rt)
	}
	return out
}

func TestC001_C005_HooksRunOnceInOrder(t *testing.T) {
	b := startBroker(t, 1, "orders")
	var mu sync.Mutex
	var calls []string
	note := func(s string) { mu.Lock(); calls = append(calls, s); mu.Unlock() }
	cfg := host.Config{Chain: map[string]host.ChainConfig{"c": {Topics: []string{"orders"}, OnSend: []string{"a", "b"}}}}
	mark := func(name string) judge {
		return judge{
			send: func(it *interceptor.Item) {
				note("send " + name)
				it.Record.Value = append(append([]byte{}, it.Record.Value...), name...)
			},
			ack: func(*interceptor.Ack) { note("ack " + name) },
		}
	}
	h := newHost(t, b, cfg, host.WithInterceptor("a", mark("a")), host.WithInterceptor("b", mark("b")))
	p := producerOf(t, h)
	err := p.SendAsync(within(t), &klamm.Record{Topic: "orders", Value: []byte("v")}, func(klamm.Result) { note("callback") })
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(calls), "[send a send b ack a ack b callback]"; got != want {
		t.Fatalf("calls %s, want %s", got, want)
	}
	if recs := readTopic(t, b, "orders"); string(recs[0].Value) != "vab" {
		t.Fatalf("value %q, want \"vab\"", recs[0].Value)
	}
}

func TestC014_InvalidTopic(t *testing.T) {
	b := startBroker(t, 1)
	p := producerOf(t, newHost(t, b, host.Config{}))
	for _, name := range []string{"", ".", "a b", "ü"} {
		if _, err := p.Send(within(t), &klamm.Record{Topic: name}); !errors.Is(err, klamm.ErrInvalidTopic) {
			t.Errorf("topic %q: error %v, want ErrInvalidTopic", name, err)
		}
	}
	balanced(t, p.Counts(), 0)
}

func TestUnknownTopicFailsTheRecordAlone(t *testing.T) {
	b := startBroker(t, 1, "orders")
	p := producerOf(t, newHost(t, b, host.Config{}))
	r, err := p.Send(within(t), &klamm.Record{Topic: "nowhere", Value: []byte("v")})
	if !errors.Is(err, klamm.ErrUnknownTopic) || r.Outcome != klamm.Failed || r.Topic != "nowhere" || r.Partition != klamm.NoPartition || r.Offset != klamm.NoOffset {
		t.Fatalf("%+v, error %v; want failed, ErrUnknownTopic, topic kept, -1 and -1", r, err)
	}
	if _, err := p.Send(within(t), &klamm.Record{Topic: "orders", Value: []byte("v")}); err != nil {
		t.Fatalf("the producer is not usable afterwards: %v", err)
	}
	balanced(t, p.Counts(), 2)
}

func TestPartitionOutOfRange(t *testing.T) {
	b := startBroker(t, 2, "orders")
	p := producerOf(t, newHost(t, b, host.Config{}))
	for _, to := range []int32{-5, 2, 1 << 30} {
		if _, err := p.Send(within(t), &klamm.Record{Topic: "orders", Target: klamm.ToPartition(to)}); !errors.Is(err, klamm.ErrInvalidPartition) {
			t.Errorf("partition %d: error %v, want ErrInvalidPartition", to, err)
		}
	}
}

func TestRecordTooLargeIsRefusedAtOnce(t *testing.T) {
	b := startBroker(t, 1, "orders")
	p := producerOf(t, newHost(t, b, host.Config{}))
	_, err := p.Send(within(t), &klamm.Record{Topic: "orders", Value: make([]byte, 2<<20)})
	if !errors.Is(err, klamm.ErrRecordTooLarge) {
		t.Fatalf("error %v, want ErrRecordTooLarge", err)
	}
}

func TestC023_SendAfterClose(t *testing.T) {
	b := startBroker(t, 1, "orders")
	h := newHost(t, b, host.Config{})
	p := producerOf(t, h)
	if err := h.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(within(t), &klamm.Record{Topic: "orders"}); !errors.Is(err, klamm.ErrClosed) {
		t.Fatalf("error %v, want ErrClosed", err)
	}
}

func TestC037_CloseCompletesWhatIsInFlight(t *testing.T) {
	b := startBroker(t, 2, "orders")
	cfg := chainOf("orders")
	cfg.Producer.Linger = host.Duration(time.Hour)
	cfg.Producer.DeliveryTimeout = host.Duration(2 * time.Hour)
	var acked atomic.Int32
	h := newHost(t, b, cfg, host.WithInterceptor("j", judge{ack: func(*interceptor.Ack) { acked.Add(1) }}))
	p := producerOf(t, h)
	const n = 300
	res := newResults()
	for i := range n {
		if err := p.SendAsync(within(t), &klamm.Record{Topic: "orders", Value: value(i)}, res.of(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	for i, r := range res.complete(t, n) {
		if r.Outcome != klamm.Written {
			t.Fatalf("record %d: %+v, want written", i, r)
		}
	}
	if acked.Load() != n {
		t.Fatalf("%d acknowledgements, want %d", acked.Load(), n)
	}
}

func TestC038_CloseAtOnceFailsWhatIsBuffered(t *testing.T) {
	b := startBroker(t, 1, "orders")
	b.Cluster(t).ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster(t).KeepControl()
		b.Cluster(t).SleepControl(func() { time.Sleep(50 * time.Millisecond) })
		return nil, errors.New("cut"), true
	})
	var acked atomic.Int32
	cfg := chainOf("orders")
	cfg.Cluster.BootstrapServers = b.Addrs()
	h, err := host.New(cfg, host.WithInterceptor("j", judge{ack: func(*interceptor.Ack) { acked.Add(1) }}))
	if err != nil {
		t.Fatal(err)
	}
	p := producerOf(t, h)
	const n = 100
	res := newResults()
	for i := range n {
		if err := p.SendAsync(within(t), &klamm.Record{Topic: "orders", Value: value(i)}, res.of(i)); err != nil {
			t.Fatal(err)
		}
	}
	gone, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := h.Close(gone); err == nil {
		t.Error("Close gave up records and reported no error")
	}
	for i, r := range res.complete(t, n) {
		if !errors.Is(r.Err, klamm.ErrClosed) && !errors.Is(r.Err, klamm.ErrOutcomeUnknown) {
			t.Fatalf("record %d: %+v, want ErrClosed or ErrOutcomeUnknown", i, r)
		}
	}
	if acked.Load() != n {
		t.Fatalf("%d acknowledgements, want %d", acked.Load(), n)
	}
	balanced(t, p.Counts(), n)
}

// Callbacks hold neither memory nor slot, so they may send even when both are
// nearly used up; and a flush is not starved by what they send (C093).
func TestC093_CallbacksMaySend(t *testing.T) {
	b := startBroker(t, 1, "orders")
	cfg := host.Config{}
	cfg.Producer.Slots = 2
	p := producerOf(t, newHost(t, b, cfg))
	const n = 500
	var sent atomic.Int32
	done := make(chan struct{})
	var next func(klamm.Result)
	next = func(klamm.Result) {
		if sent.Add(1) >= n {
			close(done)
			return
		}
		if err := p.SendAsync(context.Background(), &klamm.Record{Topic: "orders", Value: []byte("v")}, next); err != nil {
			t.Error(err)
		}
	}
	if err := p.SendAsync(within(t), &klamm.Record{Topic: "orders", Value: []byte("v")}, next); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(within(t)); err != nil {
		t.Fatalf("a flush was starved by callbacks that send: %v", err)
	}
	select {
	case <-done:
	case <-within(t).Done():
		t.Fatalf("stuck after %d of %d callbacks", sent.Load(), n)
	}
}

func TestC017_ChangedTopicIsUsed(t *testing.T) {
	b := startBroker(t, 1, "orders", "orders.eu")
	p := producerOf(t, newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{send: func(it *interceptor.Item) {
		it.Record.Topic = string(it.Record.Value)
	}})))
	r, err := p.Send(within(t), &klamm.Record{Topic: "orders", Value: []byte("orders.eu")})
	if err != nil || r.Topic != "orders.eu" || r.Offset != 0 {
		t.Fatalf("%+v, error %v; want orders.eu/0@0", r, err)
	}
	r, err = p.Send(within(t), &klamm.Record{Topic: "orders", Value: []byte("nowhere")})
	if !errors.Is(err, klamm.ErrUnknownTopic) || r.Topic != "nowhere" {
		t.Fatalf("%+v, error %v; want the changed topic in the failure", r, err)
	}
}

func TestCallersBytesAreFreeAtOnce(t *testing.T) {
	b := startBroker(t, 1, "orders")
	p := producerOf(t, newHost(t, b, host.Config{}))
	rnd := rand.New(rand.NewPCG(1, 2))
	var want []string
	key, val, head := make([]byte, 8), make([]byte, 600), make([]byte, 8)
	for range 2000 {
		for _, buf := range [][]byte{key, val, head} {
			for i := range buf {
				buf[i] = byte('a' + rnd.IntN(26))
			}
		}
		rec := &klamm.Record{Topic: "orders", Key: key, Value: val[:rnd.IntN(len(val))], Headers: []klamm.Header{{Key: "h", Value: head}, {Key: "null"}}}
		want = append(want, string(rec.Key)+"|"+string(rec.Value)+"|"+string(head))
		if err := p.SendAsync(within(t), rec, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	for i, rec := range readTopic(t, b, "orders") {
		if got := string(rec.Key) + "|" + string(rec.Value) + "|" + string(rec.Headers[0].Value); got != want[i] {
			t.Fatalf("record %d: %.60q, want %.60q", i, got, want[i])
		}
		if rec.Headers[1].Value != nil {
			t.Fatalf("record %d: a null header value came back as %q", i, rec.Headers[1].Value)
		}
	}
}

func TestBufferFull(t *testing.T) {
	b := startBroker(t, 1, "orders")
	stall := make(chan struct{})
	b.Cluster(t).ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster(t).KeepControl()
		b.Cluster(t).SleepControl(func() { <-stall })
		return nil, nil, false
	})
	cfg := host.Config{}
	cfg.Producer.Slots = 4
	cfg.Producer.MaxBlock = host.Duration(50 * time.Millisecond)
	p := producerOf(t, newHost(t, b, cfg))
	res := newResults()
	for i := range 4 {
		if err := p.SendAsync(within(t), &klamm.Record{Topic: "orders", Value: value(i)}, res.of(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.SendAsync(within(t), &klamm.Record{Topic: "orders"}, nil); !errors.Is(err, klamm.ErrBufferFull) {
		t.Errorf("error %v, want ErrBufferFull", err)
	}
	close(stall)
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	res.complete(t, 4)
}

// What one lane has reserved in advance does not keep another from taking all
// memory that there is.
func TestMemoryInAdvanceIsGivenBack(t *testing.T) {
	b := startBroker(t, 1, "orders", "other")
	cfg := chainOf("orders")
	const total = 1 << 20
	cfg.Producer.BufferMemory, cfg.Producer.MaxRequestSize = total, 2*total
	cfg.Producer.MaxBlock = host.Duration(time.Hour)
	h := newHost(t, b, cfg, host.WithInterceptor("j", judge{send: func(*interceptor.Item) {}}))
	p := producerOf(t, h)
	large := klamm.Record{Topic: "other"}
	large.Value = make([]byte, total-produce.UpperBound(0, 0, nil))
	for range 20 {
		for _, rec := range []klamm.Record{{Topic: "orders"}, large, {Topic: "orders"}} {
			if r, err := p.Send(within(t), &rec); err != nil && !errors.Is(err, klamm.ErrRecordTooLarge) {
				t.Fatalf("%+v: %v", r, err)
			}
		}
	}
	if s := h.Stats().Produce; s.BufferAvailable != total {
		t.Errorf("%d bytes available of %d", s.BufferAvailable, total)
	}
}

// With several lanes order holds for each key.
func TestLanesKeepOrderPerKey(t *testing.T) {
	b := startBroker(t, 3, "orders")
	cfg := chainOf("orders")
	c := cfg.Chain["c"]
	c.Lanes = 4
	cfg.Chain["c"] = c
	var judged atomic.Int64
	p := producerOf(t, newHost(t, b, cfg, host.WithInterceptor("j", judge{send: func(*interceptor.Item) { judged.Add(1) }})))
	const keys, each = 20, 300
	for i := range each {
		for k := range keys {
			rec := &klamm.Record{Topic: "orders", Key: fmt.Appendf(nil, "key-%d", k), Value: strconv.AppendInt(nil, int64(i), 10)}
			if err := p.SendAsync(context.Background(), rec, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	if judged.Load() != keys*each {
		t.Fatalf("%d records judged, want %d", judged.Load(), keys*each)
	}
	next := map[string]int{}
	for _, rec := range readTopic(t, b, "orders") {
		if i, _ := strconv.Atoi(string(rec.Value)); i != next[string(rec.Key)] {
			t.Fatalf("%s: record %d at %d@%d, want %d", rec.Key, i, rec.Partition, rec.Offset, next[string(rec.Key)])
		}
		next[string(rec.Key)]++
	}
	if len(next) != keys {
		t.Fatalf("%d keys arrived, want %d", len(next), keys)
	}
}
