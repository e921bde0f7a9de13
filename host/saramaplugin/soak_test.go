package saramaplugin_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/saramaplugin"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/broker"
)

// TestSoak runs a wrapped producer under back-pressure, with brokers that refuse
// now and then, readers that are slow or late, and Close in the middle. Each
// message must come back once, and nothing may stand still.
//
// It takes a few seconds. The long form:
//
//	KLAMM_SARAMA_SOAK=10m go test ./host/saramaplugin -run TestSoak -timeout 20m -v
func TestSoak(t *testing.T) {
	length := 3 * time.Second
	if text := os.Getenv("KLAMM_SARAMA_SOAK"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	// A new broker and host now and then, so that memory does not grow with the log.
	for end := time.Now().Add(length); time.Now().Before(end); {
		s := newSoak(t, min(time.Until(end), 20*time.Second))
		s.run()
	}
}

type soak struct {
	t      *testing.T
	b      *broker.Broker
	h      *host.Host
	until  time.Time
	rounds map[string]int
	sent   int64
	seed   uint64
	ids    atomic.Int64 // one for each message, in its value
	// doubled is how many records sarama has written a second time so far.
	doubled int64

	mu      sync.Mutex
	unknown []error // of this round
}

// failed notes the errors of a round that leave open whether the message was
// written.
func (s *soak) failed(err *sarama.ProducerError) {
	var perr *klamm.PluginError
	if errors.As(err, &perr) || errors.Is(err, sarama.ErrInvalidRecord) {
		return
	}
	s.mu.Lock()
	s.unknown = append(s.unknown, err.Err)
	s.mu.Unlock()
}

// closed closes and notes the errors that were left.
func (s *soak) closed(p sarama.AsyncProducer) {
	var errs sarama.ProducerErrors
	if errors.As(p.Close(), &errs) {
		for _, err := range errs {
			s.failed(err)
		}
	}
}

func newSoak(t *testing.T, length time.Duration) *soak {
	s := &soak{t: t, until: time.Now().Add(length), rounds: map[string]int{}, seed: rand.Uint64()}
	s.b = startBroker(t, 3, "orders", "dead")
	cfg := dedupOf("orders")
	c := cfg.Chain["c"]
	c.OnSend, c.DeadLetterTopic = []string{"j", "dedup"}, "dead"
	cfg.Chain["c"] = c
	s.h = newHost(t, s.b, cfg, host.WithInterceptor("j", judge{send: func(it *interceptor.Item) {
		switch it.Record.Value[0] {
		case 'd':
			it.Drop("asked to")
		case 'l':
			it.DeadLetter("asked to")
		case 'f':
			it.Fail(errNotToday)
		}
	}}))
	var requests atomic.Int64
	s.b.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.b.Cluster().KeepControl()
		switch n := requests.Add(1); {
		case n%17 == 0:
			return refuse(req, kerr.NotLeaderForPartition.Code), nil, true
		case n%101 == 0:
			return refuse(req, kerr.InvalidRecord.Code), nil, true
		}
		return nil, nil, false
	})
	return s
}

func (s *soak) run() {
	kinds := []struct {
		name string
		f    func(p sarama.AsyncProducer, send func() int64) (results int64)
	}{
		{"slow reader, then AsyncClose", s.slowReader},
		{"Close in the middle, results unread", s.closeUnread},
		{"AsyncClose in the middle, read late", s.readLate},
		{"Close while a reader reads", s.closeWithReader},
	}
	for i := 0; time.Now().Before(s.until); i++ {
		k := kinds[i%len(kinds)]
		s.round(k.name, i, k.f)
	}
	s.t.Logf("seed %d: %d messages, %d doubled by sarama, in rounds %v", s.seed, s.sent, s.doubled, s.rounds)
}

const soakLimit = 64

// round runs one producer from its making to its end.
func (s *soak) round(name string, number int, f func(sarama.AsyncProducer, func() int64) int64) {
	s.t.Helper()
	cfg := settings()
	cfg.ChannelBufferSize = 16
	if cfg.Producer.Idempotent = number%3 == 2; cfg.Producer.Idempotent {
		cfg.Net.MaxOpenRequests = 1
	}
	p := asyncOf(s.t, s.h, s.b, cfg)
	saramaplugin.Limit(p, soakLimit)
	before := s.logged()
	watch := time.AfterFunc(patience, func() { panic("the soak stands still in: " + name) })
	var accepted int64
	got := f(p, func() int64 {
		accepted = s.send(p, uint64(number), 2000)
		return accepted
	})
	watch.Stop()
	if got >= 0 && got != accepted {
		s.t.Fatalf("%s: %d messages came back, %d were sent (seed %d)", name, got, accepted, s.seed)
	}
	c := balanced(s.t, p, accepted)
	s.compare(name, before, c.Out+c.DeadLettered, cfg.Producer.Idempotent)
	s.unknown = nil
	s.rounds[name]++
	s.sent += accepted
}

// compare holds the log against what was reported. Without idempotence sarama
// may write a batch twice: it sends it again when it has lost the connection
// before the answer, which it does by itself now and then while it connects.
func (s *soak) compare(name string, before, sure int64, idempotent bool) {
	s.t.Helper()
	logged, most := s.logged()-before, sure+int64(len(s.unknown))
	if logged >= sure && logged <= most {
		return
	}
	twice := s.twice()
	again := twice - s.doubled
	s.doubled = twice
	if idempotent || logged-again < sure || logged-again > most {
		s.t.Fatalf("%s, idempotent %t: the log has %d more records, %d of them a second time; %d were reported as written and %d as unknown %v (seed %d)",
			name, idempotent, logged, again, sure, len(s.unknown), s.unknown, s.seed)
	}
}

// twice is how many records the log has a second time.
func (s *soak) twice() (n int64) {
	for _, topic := range []string{"orders", "dead"} {
		seen := map[string]bool{}
		for _, rec := range readTopic(s.t, s.b, topic) {
			if seen[string(rec.Value)] {
				n++
			}
			seen[string(rec.Value)] = true
		}
	}
	return n
}

// logged is how many records the topics have.
func (s *soak) logged() (n int64) {
	for _, topic := range []string{"orders", "dead"} {
		for p := range int32(3) {
			n += s.b.Cluster().PartitionInfo(topic, p).HighWatermark
		}
	}
	return n
}

// send sends from several goroutines and returns how many messages Input() took.
func (s *soak) send(p sarama.AsyncProducer, round uint64, n int) int64 {
	var all sync.WaitGroup
	var accepted atomic.Int64
	for g := range 3 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(s.seed+round, uint64(g)))
			for range n / 3 {
				value := []string{"v", "v", "v", "v", "v", "v", "d", "l", "f"}[r.IntN(9)] + strconv.FormatInt(s.ids.Add(1), 10)
				id := strconv.FormatUint(round, 10) + "/" + strconv.Itoa(r.IntN(n)) // many twice
				p.Input() <- &sarama.ProducerMessage{
					Topic: "orders", Key: sarama.StringEncoder(id), Value: sarama.StringEncoder(value),
				}
				accepted.Add(1)
			}
		})
	}
	all.Wait()
	return accepted.Load()
}

// slowly reads both channels to their end, a few messages each tick.
func (s *soak) slowly(p sarama.AsyncProducer, each int, every time.Duration) int64 {
	tick := time.NewTicker(every)
	defer tick.Stop()
	ok, errs := p.Successes(), p.Errors()
	n := int64(0)
	for ok != nil || errs != nil {
		if n%int64(each) == 0 {
			<-tick.C
		}
		select {
		case _, open := <-ok:
			if !open {
				ok = nil
				continue
			}
		case err, open := <-errs:
			if !open {
				errs = nil
				continue
			}
			s.failed(err)
		}
		n++
	}
	return n
}

func (s *soak) slowReader(p sarama.AsyncProducer, send func() int64) int64 {
	read := make(chan int64, 1)
	go func() { read <- s.slowly(p, 16, time.Millisecond) }()
	send()
	p.AsyncClose()
	return <-read
}

// closeUnread closes with as many results unread as may be in flight.
func (s *soak) closeUnread(p sarama.AsyncProducer, send func() int64) int64 {
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() { // enough for the senders to end, then no more
		for {
			select {
			case <-p.Successes():
			case err := <-p.Errors():
				s.failed(err)
			case <-stop:
				return
			}
		}
	})
	send()
	close(stop)
	reading.Wait()
	s.closed(p)
	return -1
}

// readLate closes first and reads what is there afterwards.
func (s *soak) readLate(p sarama.AsyncProducer, send func() int64) int64 {
	var n atomic.Int64
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			select {
			case <-p.Successes():
			case err := <-p.Errors():
				s.failed(err)
			case <-stop:
				return
			}
			n.Add(1)
		}
	})
	send()
	close(stop)
	reading.Wait()
	p.AsyncClose()
	return n.Load() + s.slowly(p, 32, time.Millisecond)
}

func (s *soak) closeWithReader(p sarama.AsyncProducer, send func() int64) int64 {
	var reading sync.WaitGroup
	reading.Go(func() { s.slowly(p, 64, time.Millisecond) })
	send()
	s.closed(p)
	reading.Wait()
	return -1
}

// Senders that race with AsyncClose: what Input() takes comes back, as a result
// or as sarama.ErrShuttingDown. Input() stays open while results are unread.
func TestCloseAmongSenders(t *testing.T) {
	b := startBroker(t, 1, "orders", "dead")
	h := newHost(t, b, chainOf("orders"), host.WithInterceptor("j", judge{send: byKey}))
	const senders, each = 4, 1000
	rejected := 0
	for range 10 {
		p := asyncOf(t, h, b, settings())
		late := make(chan struct{})
		res := &results{ok: map[any]*sarama.ProducerMessage{}, errs: map[any]error{}}
		res.all.Go(func() { res.readErrors(p) })
		res.all.Go(func() { <-late; res.readSuccesses(p) })
		var accepted atomic.Int64
		var sending sync.WaitGroup
		for g := range senders {
			sending.Go(func() {
				for i := range each {
					p.Input() <- &sarama.ProducerMessage{Topic: "orders", Key: key(0), Metadata: g*each + i}
					if accepted.Add(1) == senders*each/2 {
						p.AsyncClose()
					}
				}
			})
		}
		sending.Wait()
		close(late)
		res.wait(t, senders*each)
		for id, err := range res.errs {
			if err != sarama.ErrShuttingDown {
				t.Fatalf("message %v: %v", id, err)
			}
		}
		balanced(t, p, int64(len(res.ok)))
		if len(res.ok) < senders*each/2 {
			t.Fatalf("%d messages were written, %d were sent before AsyncClose", len(res.ok), senders*each/2)
		}
		rejected += len(res.errs)
	}
	if rejected == 0 {
		t.Fatal("no message met the closing")
	}
}
