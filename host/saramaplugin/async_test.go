package saramaplugin_test

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/saramaplugin"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/sdk/abi"
)

var errNotToday = errors.New("not today")

// byKey gives every sixth message another verdict.
func byKey(it *interceptor.Item) {
	n, _ := strconv.Atoi(string(it.Record.Key))
	switch n % 6 {
	case 1:
		it.Record.Value = []byte("edited")
		it.Record.Headers = []klamm.Header{{Key: "seen", Value: []byte("once")}}
	case 2:
		it.Drop("odd")
	case 3:
		it.DeadLetter("sick")
	case 4:
		it.Fail(errNotToday)
	case 5:
		it.Record.Target = klamm.ToPartition(2)
	}
}

func TestAllVerdicts(t *testing.T) {
	b := startBroker(t, 3, "orders", "dead", "plain")
	var acks atomic.Int64
	h := newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{send: byKey, ack: func(a *interceptor.Ack) {
		acks.Add(1)
		n, _ := strconv.Atoi(string(a.Record.Key))
		if dropped := a.Flags&abi.AckDropped != 0; dropped != (n%6 == 2) {
			t.Errorf("message %d: acknowledged as dropped: %t", n, dropped)
		}
		if failed := a.Code != abi.ErrNone; failed != (n%6 == 4) {
			t.Errorf("message %d: acknowledged with code %d", n, a.Code)
		}
	}}))
	cfg := settings()
	cfg.Producer.Partitioner = saramaplugin.Routed(sarama.NewHashPartitioner)
	p := asyncOf(t, h, b, cfg)
	res := readResults(p)
	const n = 3000
	sent := make([]*sarama.ProducerMessage, n)
	for i := range n {
		sent[i] = &sarama.ProducerMessage{Topic: "orders", Key: key(i), Value: sarama.StringEncoder("v"), Metadata: i}
		p.Input() <- sent[i]
	}
	p.Input() <- &sarama.ProducerMessage{Topic: "plain", Value: sarama.StringEncoder("v"), Metadata: "plain"}
	p.AsyncClose()
	res.wait(t, n+1)
	c := balanced(t, p, n)
	if c.Out != n/2 || c.Dropped != n/6 || c.DeadLettered != n/6 || c.Failed != n/6 {
		t.Fatalf("counts %+v, want a sixth of %d of each and three of written", c, n)
	}
	if acks.Load() != n {
		t.Fatalf("%d on_acknowledgement, want %d", acks.Load(), n)
	}
	for i, msg := range sent {
		checkVerdict(t, i, msg, res)
	}
	if got := len(readTopic(t, b, "plain")); got != 1 {
		t.Fatalf("the topic without a chain has %d records, want 1", got)
	}
	checkWritten(t, b2{readTopic(t, b, "orders"), readTopic(t, b, "dead")}, n)
}

func checkVerdict(t *testing.T, i int, msg *sarama.ProducerMessage, res *results) {
	t.Helper()
	if got, _ := msg.Key.Encode(); string(got) != strconv.Itoa(i) || msg.Value != sarama.StringEncoder("v") || msg.Headers != nil || msg.Metadata != i {
		t.Fatalf("message %d came back changed: %+v", i, msg)
	}
	plugin, reason, dropped := saramaplugin.DroppedBy(msg)
	_, why, dead := saramaplugin.DeadLetteredBy(msg)
	if dropped != (i%6 == 2) || dead != (i%6 == 3) {
		t.Fatalf("message %d: dropped %t, dead-lettered %t", i, dropped, dead)
	}
	switch i % 6 {
	case 2:
		if plugin != "j" || reason != "odd" || msg.Offset != -1 || msg.Partition != -1 {
			t.Fatalf("message %d: dropped by %q because of %q, at %d@%d", i, plugin, reason, msg.Partition, msg.Offset)
		}
	case 3:
		if why != "sick" || msg.Topic != "dead" || msg.Offset < 0 {
			t.Fatalf("message %d: dead-lettered because of %q to %s@%d", i, why, msg.Topic, msg.Offset)
		}
	case 4:
		var perr *klamm.PluginError
		if err := res.errs[i]; !errors.As(err, &perr) || perr.Plugin != "j" || !errors.Is(err, errNotToday) {
			t.Fatalf("message %d: error %v, want a *klamm.PluginError of \"j\"", i, err)
		}
	case 5:
		if msg.Partition != 2 {
			t.Fatalf("message %d was routed to partition 2 and is in %d", i, msg.Partition)
		}
	}
	if i%6 != 4 && res.ok[i] != msg {
		t.Fatalf("message %d: Successes() had %p, want the pointer that was sent", i, res.ok[i])
	}
}

func TestC021_SaramasRetriesNeverRunAPluginAgain(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		t.Run(fmt.Sprintf("idempotent=%t", idempotent), func(t *testing.T) {
			b := startBroker(t, 1, "orders")
			var refused, judged, acked atomic.Int32
			b.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
				b.Cluster().KeepControl()
				if refused.Add(1) > 3 {
					return nil, nil, false
				}
				return refuse(req, kerr.NotLeaderForPartition.Code), nil, true
			})
			h := newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{
				send: func(it *interceptor.Item) {
					judged.Add(1)
					it.Record.Headers = append(it.Record.Headers, klamm.Header{Key: "seen", Value: []byte("once")})
				},
				ack: func(*interceptor.Ack) { acked.Add(1) },
			}))
			cfg := settings()
			if cfg.Producer.Idempotent = idempotent; idempotent {
				cfg.Net.MaxOpenRequests = 1
			}
			p := asyncOf(t, h, b, cfg)
			res := readResults(p)
			p.Input() <- &sarama.ProducerMessage{Topic: "orders", Value: sarama.StringEncoder("v"), Metadata: 1}
			p.AsyncClose()
			res.wait(t, 1)
			if len(res.errs) > 0 || refused.Load() != 4 || judged.Load() != 1 || acked.Load() != 1 {
				t.Fatalf("errors %v, %d requests, %d on_send, %d on_acknowledgement; want none, 4, 1, 1", res.errs, refused.Load(), judged.Load(), acked.Load())
			}
			if recs := readTopic(t, b, "orders"); len(recs) != 1 || len(recs[0].Headers) != 1 {
				t.Fatalf("the topic has %d records, the first with %d headers; want 1 and 1", len(recs), len(recs[0].Headers))
			}
		})
	}
}

// The naive recipe loses here: the id is marked, the send fails, and the retry
// is dropped as the duplicate of a message that never arrived.
func TestDedupLetsTheRetryOfAFailedSendPass(t *testing.T) {
	tests := []struct {
		name    string
		code    int16
		unknown bool
	}{
		{"refused for certain", kerr.InvalidRecord.Code, false},
		{"retries used up", kerr.NotLeaderForPartition.Code, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := startBroker(t, 1, "orders")
			h := newHost(t, b, dedupOf("orders"))
			var healthy atomic.Bool
			b.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
				b.Cluster().KeepControl()
				if healthy.Load() {
					return nil, nil, false
				}
				return refuse(req, tt.code), nil, true
			})
			p := asyncOf(t, h, b, settings())
			first, twin := order("first"), order("twin")
			p.Input() <- first
			p.Input() <- twin
			for _, err := range []*sarama.ProducerError{<-p.Errors(), <-p.Errors()} {
				unknown := errors.Is(err, klamm.ErrOutcomeUnknown)
				if want := tt.unknown && err.Msg == twin; unknown != want {
					t.Errorf("%v: error %v; outcome unknown: %t, want %t", err.Msg.Metadata, err, unknown, want)
				}
			}
			healthy.Store(true)
			p.Input() <- first
			if msg := <-p.Successes(); msg != first || msg.Offset != 0 {
				t.Fatalf("the retry came back as %+v, want written at 0", msg)
			}
			p.Input() <- twin
			if plugin, _, ok := saramaplugin.DroppedBy(<-p.Successes()); !ok || plugin != "dedup" {
				t.Fatalf("the duplicate was dropped: %t, by %q", ok, plugin)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			balanced(t, p, 4)
			if recs := readTopic(t, b, "orders"); len(recs) != 1 {
				t.Fatalf("the topic has %d records, want 1", len(recs))
			}
		})
	}
}

func order(name string) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: "orders", Key: sarama.StringEncoder("a"), Value: sarama.StringEncoder("1"), Metadata: name}
}

// A duplicate may meet its id in flight at another producer of the host: each
// completes the other's waiter.
func TestDuplicatesAcrossProducers(t *testing.T) {
	b := startBroker(t, 1, "orders")
	h := newHost(t, b, dedupOf("orders"))
	own, err := h.Producer()
	if err != nil {
		t.Fatal(err)
	}
	p := asyncOf(t, h, b, settings())
	res := readResults(p)
	const n = 2000
	var written, dropped atomic.Int64
	for i := range n {
		done := func(r klamm.Result) {
			switch r.Outcome {
			case klamm.Written:
				written.Add(1)
			case klamm.Dropped:
				dropped.Add(1)
			default:
				t.Errorf("record %d: %+v", i, r)
			}
		}
		if i%2 == 0 { // who is first changes
			p.Input() <- &sarama.ProducerMessage{Topic: "orders", Key: key(i), Metadata: i}
		}
		if err := own.SendAsync(within(t), &klamm.Record{Topic: "orders", Key: []byte(strconv.Itoa(i))}, done); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			p.Input() <- &sarama.ProducerMessage{Topic: "orders", Key: key(i), Metadata: i}
		}
	}
	if err := own.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	p.AsyncClose()
	res.wait(t, n)
	if len(res.errs) > 0 {
		t.Fatalf("%d failed", len(res.errs))
	}
	c := balanced(t, p, n)
	if written.Load()+c.Out != n || dropped.Load()+c.Dropped != n {
		t.Fatalf("written %d and %d, dropped %d and %d; want %d of each together", written.Load(), c.Out, dropped.Load(), c.Dropped, n)
	}
	if recs := readTopic(t, b, "orders"); len(recs) != n {
		t.Fatalf("the topic has %d records, want %d", len(recs), n)
	}
}

func TestRoutesNeedAPartitionerThatObeys(t *testing.T) {
	b := startBroker(t, 3, "orders", "dead")
	h := newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{send: byKey}))
	tests := []struct {
		name        string
		partitioner sarama.PartitionerConstructor
		works       bool
	}{
		{"sarama's hash", sarama.NewHashPartitioner, false},
		{"sarama's manual", sarama.NewManualPartitioner, true},
		{"routed round robin", saramaplugin.Routed(sarama.NewRoundRobinPartitioner), true},
		{"routed manual", saramaplugin.Routed(sarama.NewManualPartitioner), true},
		{"the chain's", saramaplugin.Partitioner(h, "c"), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := settings()
			cfg.Producer.Partitioner = tt.partitioner
			p := syncOf(t, h, b, cfg)
			to, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: "orders", Key: key(5)})
			if works := err == nil && to == 2; works != tt.works {
				t.Fatalf("partition %d, error %v; want it to work: %t", to, err, tt.works)
			}
			if err != nil && !strings.Contains(err.Error(), "saramaplugin.Routed") {
				t.Fatalf("the error does not say what to do: %v", err)
			}
		})
	}
}

// The program's own partitioner sees the message as before: sarama gets another
// one, with the user's Metadata.
func TestPartitionersSeeMetadata(t *testing.T) {
	b := startBroker(t, 3, "orders", "dead")
	h := newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{}))
	cfg := settings()
	cfg.Producer.Partitioner = func(string) sarama.Partitioner { return byMetadata{} }
	p := syncOf(t, h, b, cfg)
	if to, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: "orders", Metadata: int32(2)}); err != nil || to != 2 {
		t.Fatalf("partition %d, error %v; want 2", to, err)
	}
}

type byMetadata struct{}

func (byMetadata) Partition(msg *sarama.ProducerMessage, _ int32) (int32, error) {
	to, ok := msg.Metadata.(int32)
	if !ok {
		return -1, fmt.Errorf("Metadata is %T", msg.Metadata)
	}
	return to, nil
}

func (byMetadata) RequiresConsistency() bool { return true }

func TestManualPartitionIsSeenAndKept(t *testing.T) {
	b := startBroker(t, 3, "orders", "dead")
	seen := make(chan klamm.Target, 1)
	h := newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{send: func(it *interceptor.Item) { seen <- it.Record.Target }}))
	cfg := settings()
	cfg.Producer.Partitioner = sarama.NewManualPartitioner
	p := syncOf(t, h, b, cfg)
	to, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: "orders", Partition: 1})
	if err != nil || to != 1 || <-seen != klamm.ToPartition(1) {
		t.Fatalf("partition %d, error %v; want 1, seen by the plugin", to, err)
	}
}

func TestWrappingNeedsResults(t *testing.T) {
	b := startBroker(t, 1, "orders")
	h := newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{send: byKey}))
	for _, tt := range []struct{ successes, errors bool }{{false, true}, {true, false}, {false, false}} {
		cfg := settings()
		cfg.Producer.Return.Successes, cfg.Producer.Return.Errors = tt.successes, tt.errors
		p, err := sarama.NewAsyncProducer(b.Addrs(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := saramaplugin.WrapAsyncProducer(h, cfg, p); err == nil || !strings.Contains(err.Error(), "NewAsyncProducer") {
			t.Errorf("successes %t, errors %t: error %v, want one that says what to do", tt.successes, tt.errors, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// With results off, nobody reads anything, and nothing stands still.
func TestNewAsyncProducerWithoutResults(t *testing.T) {
	b := startBroker(t, 1, "orders", "dead")
	h := newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{send: byKey}))
	cfg := settings()
	cfg.Producer.Return.Successes, cfg.Producer.Return.Errors = false, false
	p, err := saramaplugin.NewAsyncProducer(h, b.Addrs(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	const n = 20_000 // more than may be in flight
	for i := range n {
		p.Input() <- &sarama.ProducerMessage{Topic: "orders", Key: key(i * 6)}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	balanced(t, p, n)
	if recs := readTopic(t, b, "orders"); len(recs) != n {
		t.Fatalf("the topic has %d records, want %d", len(recs), n)
	}
}

func TestClaimsInTransactionsAreRefused(t *testing.T) {
	b := startBroker(t, 1, "orders")
	h := newHost(t, b, dedupOf("orders"))
	cfg := transactional()
	if _, err := saramaplugin.NewAsyncProducer(h, b.Addrs(), cfg); err == nil || !strings.Contains(err.Error(), `chain "c"`) {
		t.Fatalf("error %v, want one that names the chain", err)
	}
}

func transactional() *sarama.Config {
	cfg := settings()
	cfg.Producer.Idempotent, cfg.Net.MaxOpenRequests = true, 1
	cfg.Producer.Transaction.ID = "tx"
	cfg.Producer.Transaction.Retry.Backoff = 10_000_000
	return cfg
}

// What was sent before CommitTxn is in the transaction, and on_commit runs for
// the offsets that it commits.
func TestTransactionCommits(t *testing.T) {
	b := startBroker(t, 1, "orders", "in", "dead")
	commits := make(chan interceptor.Commit, 4)
	h := newHost(t, b, chainOf("orders", "in"), host.WithInterceptor("j", judge{commit: func(c interceptor.Commit) { commits <- c }}))
	p, err := saramaplugin.NewAsyncProducer(h, b.Addrs(), transactional())
	if err != nil {
		t.Fatal(err)
	}
	res := readResults(p)
	const n = 100
	for round, end := range []func() error{p.AbortTxn, p.CommitTxn} {
		if err := p.BeginTxn(); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			p.Input() <- &sarama.ProducerMessage{Topic: "orders", Key: key(i), Metadata: n*round + i}
		}
		if err := p.AddMessageToTxn(&sarama.ConsumerMessage{Topic: "in", Partition: 0, Offset: int64(41 + round)}, "group", nil); err != nil {
			t.Fatal(err)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	p.AsyncClose()
	res.wait(t, 2*n)
	if len(res.errs) > 0 {
		t.Fatalf("failed: %v", res.errs)
	}
	want := interceptor.Commit{Topic: "in", Partition: 0, Offset: 43}
	if got := <-commits; got != want || len(commits) > 0 {
		t.Fatalf("on_commit with %+v and %d more, want %+v alone", got, len(commits), want)
	}
}

// echo is a transactional producer that succeeds at once and notes how many
// messages it had when a transaction was committed.
type echo struct {
	sarama.AsyncProducer
	input, successes chan *sarama.ProducerMessage
	errors           chan *sarama.ProducerError
	received         atomic.Int64
	committed        []int64
	settled          chan struct{}
}

func newEcho() *echo {
	e := &echo{input: make(chan *sarama.ProducerMessage), successes: make(chan *sarama.ProducerMessage), errors: make(chan *sarama.ProducerError), settled: make(chan struct{})}
	go func() {
		defer close(e.errors)
		defer close(e.successes)
		for {
			select {
			case msg, ok := <-e.input:
				if !ok {
					return
				}
				e.received.Add(1)
				e.successes <- msg
			case e.settled <- struct{}{}: // every message handed over is counted
			}
		}
	}()
	return e
}

func (e *echo) Input() chan<- *sarama.ProducerMessage     { return e.input }
func (e *echo) Successes() <-chan *sarama.ProducerMessage { return e.successes }
func (e *echo) Errors() <-chan *sarama.ProducerError      { return e.errors }
func (e *echo) IsTransactional() bool                     { return true }
func (e *echo) AsyncClose()                               { close(e.input) }
func (e *echo) CommitTxn() error {
	<-e.settled
	e.committed = append(e.committed, e.received.Load())
	return nil
}

// Messages that Input() still buffers belong to the transaction too.
func TestCommitTakesWhatIsBuffered(t *testing.T) {
	b := startBroker(t, 1, "orders", "dead")
	gate := make(chan struct{})
	h := newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{send: func(it *interceptor.Item) {
		if it.Record.Key == nil {
			<-gate
		}
	}}))
	inner := newEcho()
	p, err := saramaplugin.WrapAsyncProducer(h, settings(), inner)
	if err != nil {
		t.Fatal(err)
	}
	res := readResults(p)
	const rounds, n = 50, 50
	for round := range rounds {
		p.Input() <- &sarama.ProducerMessage{Topic: "orders", Metadata: -1 - round}
		for i := range n { // behind the gate
			p.Input() <- &sarama.ProducerMessage{Topic: "orders", Key: key(i), Metadata: n*round + i}
		}
		committed := make(chan error, 1)
		go func() { committed <- p.CommitTxn() }()
		for range 1000 { // so that CommitTxn mostly stands at the feeder's door
			goruntime.Gosched()
		}
		gate <- struct{}{}
		if err := <-committed; err != nil {
			t.Fatal(err)
		}
		if got, want := inner.committed[round], int64((round+1)*(n+1)); got != want {
			t.Fatalf("transaction %d was committed after %d messages, want %d", round, got, want)
		}
	}
	p.AsyncClose()
	res.wait(t, rounds*(n+1))
}
