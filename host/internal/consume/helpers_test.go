package consume

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const within = 40 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	t.Cleanup(cancel)
	return ctx
}

// bench is a broker with a cluster, and franz-go as the independent other side.
// The broker is an embedded one, or with the build tag kafka Apache Kafka's.
type bench struct {
	addrs   []string
	own     *broker.Broker // nil for Apache Kafka
	cluster *cluster.Cluster
	admin   *kadm.Client
}

func newBench(t *testing.T, partitions, brokers int, topics ...string) *bench {
	t.Helper()
	return newBenchOf(t, apacheKafka(t, partitions, topics...), partitions, broker.Options{Brokers: brokers}, topics...)
}

// newBenchOf starts an embedded broker where addrs is nil.
func newBenchOf(t *testing.T, addrs []string, partitions int, o broker.Options, topics ...string) *bench {
	t.Helper()
	x := &bench{addrs: addrs}
	if x.addrs == nil {
		o.Kafka = append(o.Kafka, kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "50"}))
		b, err := broker.Start(testContext(t), &config.Embedded{Partitions: partitions, Topics: topics}, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		x.own, x.addrs = b, b.Addrs()
	}
	c, err := cluster.Open(testContext(t), &config.Cluster{BootstrapServers: x.addrs}, cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	x.cluster = c
	x.admin = kadm.NewClient(x.client(t))
	return x
}

func (x *bench) Addrs() []string { return x.addrs }

// Cluster is for what only the embedded broker can be told to do. A test that
// asks for it is skipped on Apache Kafka.
func (x *bench) Cluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	if x.own == nil {
		t.Skip("only the embedded broker can be told to do this")
	}
	return x.own.Cluster()
}

func (x *bench) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(x.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// produce writes n records to every partition of topic, numbered on from first:
// the value tells partition and number.
func (x *bench) produce(t *testing.T, topic string, partitions, first, n int) {
	t.Helper()
	cl := x.client(t)
	defer cl.Close()
	var recs []*kgo.Record
	for i := first; i < first+n; i++ {
		for p := range partitions {
			recs = append(recs, &kgo.Record{Topic: topic, Partition: int32(p), Value: fmt.Appendf(nil, "%d:%d", p, i)})
		}
	}
	if err := cl.ProduceSync(testContext(t), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// committed is what kadm sees of a group.
func (x *bench) committed(t *testing.T, group string) map[klamm.TopicPartition]int64 {
	t.Helper()
	offsets, err := x.admin.FetchOffsets(testContext(t), group)
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[klamm.TopicPartition]int64)
	offsets.Each(func(o kadm.OffsetResponse) { m[klamm.TopicPartition{Topic: o.Topic, Partition: o.Partition}] = o.At })
	return m
}

// recorder is a handler that writes everything down.
type recorder struct {
	name  string
	group *Group

	// commit commits before partitions go.
	commit bool
	// onRecords is called without the lock, first.
	onRecords func(tp klamm.TopicPartition, recs []klamm.Record) error
	// onRevoked is called without the lock, first.
	onRevoked func(lost bool)

	mu        sync.Mutex
	changed   chan struct{}
	parts     map[klamm.TopicPartition]bool
	read      map[klamm.TopicPartition][]klamm.Record
	next      map[klamm.TopicPartition]int64 // position
	skipped   map[klamm.TopicPartition]int64
	hw        map[klamm.TopicPartition]int64
	commits   []map[klamm.TopicPartition]int64
	revoked   int
	lost      int
	inRecords map[klamm.TopicPartition]bool
	faults    []string
}

func newRecorder(name string) *recorder {
	return &recorder{
		name: name, changed: make(chan struct{}),
		parts: make(map[klamm.TopicPartition]bool), read: make(map[klamm.TopicPartition][]klamm.Record),
		next: make(map[klamm.TopicPartition]int64), skipped: make(map[klamm.TopicPartition]int64),
		hw: make(map[klamm.TopicPartition]int64), inRecords: make(map[klamm.TopicPartition]bool),
	}
}

func (r *recorder) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) faultf(format string, args ...any) {
	r.faults = append(r.faults, r.name+": "+fmt.Sprintf(format, args...))
}

func (r *recorder) Assigned(_ context.Context, parts map[string][]int32) {
	r.change(func() {
		for _, tp := range flat(parts) {
			if r.parts[tp] {
				r.faultf("%v assigned twice", tp)
			}
			r.parts[tp] = true
			delete(r.next, tp)
		}
	})
}

func (r *recorder) Revoked(parts map[string][]int32, lost bool) {
	if r.onRevoked != nil {
		r.onRevoked(lost)
	}
	if r.commit && !lost {
		offsets := make(map[klamm.TopicPartition]int64)
		r.mu.Lock()
		for _, tp := range flat(parts) {
			if at, ok := r.next[tp]; ok {
				offsets[tp] = at
			}
		}
		r.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		if err := r.group.Commit(ctx, offsets); err != nil {
			r.change(func() { r.faultf("commit in Revoked: %v", err) })
		}
	}
	r.change(func() {
		r.revoked++
		if lost {
			r.lost++
		}
		for _, tp := range flat(parts) {
			if !r.parts[tp] || r.inRecords[tp] {
				r.faultf("%v revoked: assigned %v, in Records %v", tp, r.parts[tp], r.inRecords[tp])
			}
			delete(r.parts, tp)
		}
	})
}

func (r *recorder) Records(_ context.Context, tp klamm.TopicPartition, recs []klamm.Record, hw int64) error {
	r.change(func() {
		if !r.parts[tp] || r.inRecords[tp] || len(recs) == 0 {
			r.faultf("Records of %v: assigned %v, already in Records %v, %d records", tp, r.parts[tp], r.inRecords[tp], len(recs))
		}
		r.inRecords[tp] = true
	})
	var err error
	if r.onRecords != nil {
		err = r.onRecords(tp, recs)
	}
	r.change(func() {
		r.inRecords[tp] = false
		if err != nil {
			return
		}
		r.read[tp] = append(r.read[tp], recs...)
		r.next[tp] = recs[len(recs)-1].Offset + 1
		r.hw[tp] = hw
	})
	return err
}

func (r *recorder) Skipped(tp klamm.TopicPartition, next int64) {
	r.change(func() {
		if r.inRecords[tp] || next <= r.next[tp] {
			r.faultf("Skipped(%v, %d) at %d", tp, next, r.next[tp])
		}
		r.next[tp], r.skipped[tp] = next, next
	})
}

func (r *recorder) Committed(offsets map[klamm.TopicPartition]int64) {
	r.change(func() { r.commits = append(r.commits, offsets) })
}

func flat(parts map[string][]int32) []klamm.TopicPartition {
	var tps []klamm.TopicPartition
	for topic, ids := range parts {
		for _, id := range ids {
			tps = append(tps, klamm.TopicPartition{Topic: topic, Partition: id})
		}
	}
	return tps
}

// wait waits until ok, which is called with the lock.
func (r *recorder) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(within)
	for {
		r.mu.Lock()
		done, changed := ok(), r.changed
		state := fmt.Sprintf("parts %v, next %v, revoked %d, lost %d, faults %v", r.parts, r.next, r.revoked, r.lost, r.faults)
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s: waited in vain for %s; %s", r.name, what, state)
		}
	}
}

func (r *recorder) waitRead(t *testing.T, total int) {
	t.Helper()
	r.wait(t, fmt.Sprintf("%d records", total), func() bool { return r.total() >= total })
}

func (r *recorder) total() int {
	n := 0
	for _, recs := range r.read {
		n += len(recs)
	}
	return n
}

// positions is what has been read, to be committed.
func (r *recorder) positions() map[klamm.TopicPartition]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := make(map[klamm.TopicPartition]int64)
	for tp, at := range r.next {
		if r.parts[tp] {
			m[tp] = at
		}
	}
	return m
}

// check fails the test for every rule that a call broke.
func (r *recorder) check(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.faults {
		t.Error(f)
	}
	for tp, recs := range r.read {
		if !slices.IsSortedFunc(recs, func(a, b klamm.Record) int { return int(a.Offset - b.Offset) }) {
			t.Errorf("%s: records of %v are out of order", r.name, tp)
		}
	}
}

// protocol is the group protocol of tests that do not choose one.
var protocol = flag.String("protocol", "classic", "the group protocol that the tests use: classic or consumer")

func consumerConfig() config.Consumer {
	return config.Consumer{GroupProtocol: config.GroupProtocol(*protocol), Heartbeat: config.Duration(50 * time.Millisecond), SessionTimeout: config.Duration(10 * time.Second), FetchMaxWait: config.Duration(100 * time.Millisecond)}
}

// kinds are ways to be a member: an assignor's name, or "consumer" for KIP-848.
func kinds(names ...string) map[string]config.Consumer {
	m := make(map[string]config.Consumer)
	for _, name := range names {
		cfg := consumerConfig()
		if name == "consumer" {
			cfg.GroupProtocol = config.ConsumerProtocol
		} else {
			cfg.GroupProtocol = "classic"
			cfg.Assignor = config.Assignor(name)
		}
		m[name] = cfg
	}
	return m
}

// member is a running member of a group.
type member struct {
	*recorder
	cancel context.CancelFunc // ends Run, without waiting
	stop   func() error       // ends Run and returns its error
}

// join runs a member until the end of the test.
func (x *bench) join(t *testing.T, r *recorder, cfg config.Consumer, group, instance string, topics ...string) *member {
	t.Helper()
	return x.joinAs(t, r, cfg, group, instance, func(*Group) {}, topics...)
}

// joinAs is join with something to be done before.
func (x *bench) joinAs(t *testing.T, r *recorder, cfg config.Consumer, group, instance string, first func(*Group), topics ...string) *member {
	t.Helper()
	g, err := NewGroup(x.cluster, &cfg, group, instance, topics, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.group = g
	first(g)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var runErr error
	go func() { defer close(ended); runErr = g.Run(ctx) }()
	stop := func() error {
		cancel()
		select {
		case <-ended:
			return runErr
		case <-time.After(within):
			t.Error("Run does not end")
			return nil
		}
	}
	t.Cleanup(func() { stop(); r.check(t) })
	return &member{r, cancel, stop}
}
