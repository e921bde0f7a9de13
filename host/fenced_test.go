package host_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/config"
)

// late is a host whose ids of one transaction stay on their way to the broker
// until it has aborted that transaction for its age, as when the machine of either
// sleeps. The embedded broker takes them for the beginning of a transaction, so
// that the coordinator's word does not tell lateness from a takeover.
type late struct {
	b      *testBroker
	h      *host.Host
	ended  chan error
	stop   context.CancelFunc
	arrive func() // lets the ids go
}

func startLate(t *testing.T, protocol config.GroupProtocol) *late {
	b := startBroker(t, 2, "raw", "clean")
	fill(t, b, "raw", 200)
	ctx, stop := context.WithCancel(within(t))
	t.Cleanup(stop)
	l := &late{b: b, h: newHost(t, b, lateConfig(protocol)), ended: make(chan error, 1), stop: stop}
	go func() { l.ended <- l.h.Run(ctx) }()
	waitFor(t, func() bool { return committedOf(t, b, "p", "raw") == 200 })
	ids := b.Cluster(t).TopicInfo("klamm-state-ids").TopicID
	caught, arrive := holdOne(t, b, kmsg.Produce, func(req kmsg.Request) bool {
		return slices.ContainsFunc(req.(*kmsg.ProduceRequest).Topics, func(rt kmsg.ProduceRequestTopic) bool {
			return rt.Topic == "klamm-state-ids" || rt.TopicID == ids
		})
	})
	l.arrive = arrive
	before := epochOf(t, b, "h/p")
	fillFrom(t, b, "raw", 200, 200)
	<-caught
	waitFor(t, func() bool { return epochOf(t, b, "h/p") > before })
	return l
}

func lateConfig(protocol config.GroupProtocol) host.Config {
	cfg := running("h")
	cfg.Consumer.GroupProtocol = protocol
	p := cfg.Pipeline["p"]
	p.TransactionTimeout = host.Duration(300 * time.Millisecond)
	cfg.Pipeline["p"] = p
	return cfg
}

// holdOne keeps the first request that is wanted from the brokers' eyes until
// release is called. caught is closed when it has come.
func holdOne(t *testing.T, b *testBroker, key kmsg.Key, wanted func(kmsg.Request) bool) (caught <-chan struct{}, release func()) {
	came, free := make(chan struct{}), make(chan struct{})
	var once sync.Once
	held := false // used by the brokers' goroutine alone
	b.Cluster(t).ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if !held && wanted(req) {
			held = true
			close(came)
			b.Cluster(t).SleepControl(func() { <-free })
		}
		return nil, nil, false
	})
	release = func() { once.Do(func() { close(free) }) }
	t.Cleanup(release)
	return came, release
}

// goesOn fails the test unless the host reads on and writes everything once.
func (l *late) goesOn(t *testing.T, n int) {
	t.Helper()
	waitFor(t, func() bool {
		select {
		case err := <-l.ended:
			t.Fatalf("the host ended with %v", err)
		default:
		}
		return committedOf(t, l.b, "p", "raw") == int64(n)
	})
	l.stop()
	must(t, <-l.ended)
	onceEach(t, l.b, "clean", numbered(n))
}

func TestLateHostGoesOn(t *testing.T) {
	protocols(t, "its place is its own", func(t *testing.T, protocol config.GroupProtocol) {
		l := startLate(t, protocol)
		l.arrive()
		l.goesOn(t, 400)
	})
	t.Run("the group has put it out", func(t *testing.T) {
		l := startLate(t, "classic")
		putOut(t, l.b, "p", "h-p")
		l.arrive()
		l.goesOn(t, 400)
	})
}

func protocols(t *testing.T, name string, f func(*testing.T, config.GroupProtocol)) {
	for _, protocol := range []config.GroupProtocol{"classic", config.ConsumerProtocol} {
		t.Run(name+" "+string(protocol), func(t *testing.T) { f(t, protocol) })
	}
}

// putOut takes a static member out of its group, as the end of its session does.
func putOut(t *testing.T, b *testBroker, group, instance string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	must(t, err)
	defer cl.Close()
	_, err = kadm.NewClient(cl).LeaveGroup(within(t), kadm.LeaveGroup(group).InstanceIDs(instance))
	must(t, err)
}

// One that was late and finds another host in its place ends, and leaves that one
// alone.
func TestLateHostEndsWhereAnotherIs(t *testing.T) {
	protocols(t, "as a member", lateHostEnds)
}

func lateHostEnds(t *testing.T, protocol config.GroupProtocol) {
	l := startLate(t, protocol)
	second := newHost(t, l.b, lateConfig(protocol))
	ctx, stop := context.WithCancel(within(t))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- second.Run(ctx) }()
	waitFor(t, func() bool { return committedOf(t, l.b, "p", "raw") == 400 })
	l.arrive()
	if err := <-l.ended; !errors.Is(err, klamm.ErrFenced) {
		t.Errorf("the late host ended with %v", err)
	}
	fillFrom(t, l.b, "raw", 400, 100)
	waitFor(t, func() bool { return committedOf(t, l.b, "p", "raw") == 500 })
	stop()
	must(t, <-ended)
	onceEach(t, l.b, "clean", numbered(500))
}

// A host that is fenced in the middle of its work, in time, ends: somebody else
// works under its id, whom the group does not know.
func TestHostThatIsFencedInTimeEnds(t *testing.T) {
	b := startBroker(t, 1, "raw", "clean")
	fill(t, b, "raw", 100)
	h := newHost(t, b, running("h"))
	ended := make(chan error, 1)
	go func() { ended <- h.Run(within(t)) }()
	waitFor(t, func() bool { return committedOf(t, b, "p", "raw") == 100 })
	takeProducer(t, b, "h/p")
	fillFrom(t, b, "raw", 100, 100)
	if err := <-ended; !errors.Is(err, klamm.ErrFenced) {
		t.Errorf("the host ended with %v", err)
	}
}

// One that is fenced before its first commit takes its producer back: an older
// host of its id, which was late, did not know of it yet.
func TestNewHostTakesItsProducerBack(t *testing.T) {
	b := startBroker(t, 1, "raw", "clean")
	fill(t, b, "raw", 100)
	caught, arrive := holdOne(t, b, kmsg.Produce, func(req kmsg.Request) bool { return req.(*kmsg.ProduceRequest).TransactionID != nil })
	h := newHost(t, b, cleaning("h", false))
	ended := make(chan error, 1)
	go func() { ended <- h.Run(within(t)) }()
	<-caught
	takeProducer(t, b, "h/p")
	arrive()
	must(t, <-ended)
	onceEach(t, b, "clean", numbered(100))
}

// takeProducer is what another host of the same id does first.
func takeProducer(t *testing.T, b *testBroker, id string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	must(t, err)
	defer cl.Close()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &id, 60_000
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := cl.Request(within(t), req)
	must(t, err)
	if code := resp.(*kmsg.InitProducerIDResponse).ErrorCode; code != 0 {
		t.Fatalf("InitProducerId: error %d", code)
	}
}
