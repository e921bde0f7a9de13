package saramaplugin_test

import (
	"errors"
	goruntime "runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/saramaplugin"
	"github.com/klamm-io/klamm/interceptor"
)

func TestSendMessageVerdicts(t *testing.T) {
	b := startBroker(t, 3, "orders", "dead")
	var acks atomic.Int32
	h := newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{send: byKey, ack: func(*interceptor.Ack) { acks.Add(1) }}))
	cfg := settings()
	cfg.Producer.Partitioner = saramaplugin.Routed(sarama.NewHashPartitioner)
	p := syncOf(t, h, b, cfg)
	const n = 60
	res := &results{ok: map[any]*sarama.ProducerMessage{}, errs: map[any]error{}}
	for i := range n {
		msg := &sarama.ProducerMessage{Topic: "orders", Key: key(i), Value: sarama.StringEncoder("v"), Metadata: i}
		to, offset, err := p.SendMessage(msg)
		if err != nil {
			res.errs[i] = err
		} else if res.ok[i] = msg; to != msg.Partition || offset != msg.Offset {
			t.Fatalf("message %d: %d@%d returned, %d@%d in the message", i, to, offset, msg.Partition, msg.Offset)
		}
		checkVerdict(t, i, msg, res)
	}
	if acks.Load() != n {
		t.Fatalf("%d on_acknowledgement, want %d", acks.Load(), n)
	}
	balanced(t, p, n)
	checkWritten(t, b2{readTopic(t, b, "orders"), readTopic(t, b, "dead")}, n)
}

func TestSendMessagesVerdicts(t *testing.T) {
	b := startBroker(t, 3, "orders", "dead", "plain")
	h := newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{send: byKey}))
	cfg := settings()
	cfg.Producer.Partitioner = saramaplugin.Routed(sarama.NewHashPartitioner)
	p := syncOf(t, h, b, cfg)
	const n = 600
	msgs := []*sarama.ProducerMessage{{Topic: "plain", Metadata: "plain"}}
	for i := range n {
		msgs = append(msgs, &sarama.ProducerMessage{Topic: "orders", Key: key(i), Value: sarama.StringEncoder("v"), Metadata: i})
	}
	var errs sarama.ProducerErrors
	if err := p.SendMessages(msgs); !errors.As(err, &errs) || len(errs) != n/6 {
		t.Fatalf("error %v, want %d messages that failed", err, n/6)
	}
	res := &results{ok: map[any]*sarama.ProducerMessage{}, errs: map[any]error{}}
	for _, msg := range msgs {
		res.ok[msg.Metadata] = msg
	}
	for _, err := range errs {
		res.errs[err.Msg.Metadata] = err.Err
	}
	for i, msg := range msgs[1:] {
		checkVerdict(t, i, msg, res)
	}
	balanced(t, p, n)
	checkWritten(t, b2{readTopic(t, b, "orders"), readTopic(t, b, "dead")}, n)
}

// Senders whose batches hold each other's duplicates: each id is written once.
func TestSendMessagesDedup(t *testing.T) {
	b := startBroker(t, 1, "orders")
	h := newHost(t, b, dedupOf("orders"))
	const ids, senders = 200, 4
	var all sync.WaitGroup
	for s := range senders {
		p := syncOf(t, h, b, settings())
		all.Go(func() {
			msgs := make([]*sarama.ProducerMessage, ids)
			for i := range ids {
				id := i
				if s%2 == 1 {
					id = ids - 1 - i
				}
				msgs[i] = &sarama.ProducerMessage{Topic: "orders", Key: key(id)}
			}
			for part := range 10 {
				if err := p.SendMessages(msgs[part*ids/10 : (part+1)*ids/10]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if recs := readTopic(t, b, "orders"); len(recs) != ids {
		t.Fatalf("the topic has %d records, want %d", len(recs), ids)
	}
}

func TestSendAfterClose(t *testing.T) {
	b := startBroker(t, 1, "orders")
	h := newHost(t, b, dedupOf("orders"))
	p := syncOf(t, h, b, settings())
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.SendMessage(order("late")); !errors.Is(err, klamm.ErrClosed) {
		t.Fatalf("error %v, want closed", err)
	}
}

// A duplicate in one call with its original.
func TestSendMessagesDedupInOneCall(t *testing.T) {
	b := startBroker(t, 1, "orders")
	h := newHost(t, b, dedupOf("orders"))
	p := syncOf(t, h, b, settings())
	first, twin := order("first"), order("twin")
	if err := p.SendMessages([]*sarama.ProducerMessage{first, twin}); err != nil {
		t.Fatal(err)
	}
	if _, _, dropped := saramaplugin.DroppedBy(twin); first.Offset != 0 || !dropped {
		t.Fatalf("the first is at %d, the twin dropped: %t", first.Offset, dropped)
	}
}

// A producer that is closed while its message waits for one of another producer
// gives up: the message failed, and may be sent again.
func TestCloseGivesUpWaiting(t *testing.T) {
	b := startBroker(t, 1, "orders")
	h := newHost(t, b, dedupOf("orders"))
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.Cluster().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		once.Do(func() { close(held) })
		b.Cluster().SleepControl(func() { <-release })
		return nil, nil, false
	})
	owner, err := h.Producer()
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan klamm.Result, 1)
	if err := owner.SendAsync(within(t), &klamm.Record{Topic: "orders", Key: []byte("a")}, func(r klamm.Result) { written <- r }); err != nil {
		t.Fatal(err)
	}
	<-held
	p := asyncOf(t, h, b, settings())
	saramaplugin.Grace(p, time.Millisecond)
	p.Input() <- order("waits")
	var errs sarama.ProducerErrors
	if err := p.Close(); !errors.As(err, &errs) || len(errs) != 1 || !errors.Is(errs[0], klamm.ErrOutcomeUnknown) || !errors.Is(errs[0], klamm.ErrClosed) {
		t.Fatalf("error %v, want one message that failed, closed, of unknown outcome", err)
	}
	balanced(t, p, 1)
	close(release)
	if r := <-written; r.Outcome != klamm.Written {
		t.Fatalf("the owner: %+v", r)
	}
}

// Verdicts go with their messages.
func TestVerdictsAreCollected(t *testing.T) {
	b := startBroker(t, 1, "orders", "dead")
	h := newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{send: func(it *interceptor.Item) {
		if string(it.Record.Value) == "drop" {
			it.Drop("asked to")
		}
	}}))
	p := syncOf(t, h, b, settings())
	kept := &sarama.ProducerMessage{Topic: "orders"}
	for range 100 {
		for _, msg := range []*sarama.ProducerMessage{kept, {Topic: "orders"}} {
			msg.Value = sarama.StringEncoder("drop")
			if _, _, err := p.SendMessage(msg); err != nil {
				t.Fatal(err)
			}
			if _, _, ok := saramaplugin.DroppedBy(msg); !ok {
				t.Fatal("a dropped message does not say so")
			}
		}
	}
	kept.Value = sarama.StringEncoder(strconv.Itoa(1))
	if _, _, err := p.SendMessage(kept); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := saramaplugin.DroppedBy(kept); ok {
		t.Fatal("a message that was sent again and written is still dropped")
	}
	for ctx := within(t); saramaplugin.Verdicts() > 1; goruntime.Gosched() {
		goruntime.GC()
		if ctx.Err() != nil {
			t.Fatalf("%d verdicts are left, want 1", saramaplugin.Verdicts())
		}
	}
	goruntime.KeepAlive(kept)
}

// NewSyncProducer takes a configuration as sarama wants it of a synchronous
// producer or not, and routes what plugins route.
func TestNewSyncProducer(t *testing.T) {
	b := startBroker(t, 1, "orders")
	h := newHost(t, b, dedupOf("orders"))
	cfg := settings()
	cfg.Producer.Return.Successes = false
	p, err := saramaplugin.NewSyncProducer(h, b.Addrs(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	for i := range 2 {
		msg := &sarama.ProducerMessage{Topic: "orders", Key: sarama.StringEncoder("a"), Value: sarama.StringEncoder("v")}
		_, offset, err := p.SendMessage(msg)
		if err != nil {
			t.Fatal(err)
		}
		_, _, dropped := saramaplugin.DroppedBy(msg)
		if want := int64(-i); offset != want || dropped != (i == 1) {
			t.Errorf("message %d: offset %d, dropped %t; want %d, %t", i, offset, dropped, want, i == 1)
		}
	}
	if cfg.Producer.Return.Successes {
		t.Error("the caller's configuration was changed")
	}
	if _, err := saramaplugin.NewSyncProducer(h, []string{"127.0.0.1:1"}, cfg); err == nil {
		t.Error("no broker is there, and no error")
	}
}
