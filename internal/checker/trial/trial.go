package trial

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/checker"
	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/internal/faultproxy"
)

// Trial is a host that sends, its brokers, and the history of it.
type Trial struct {
	Host     *host.Host
	Producer *host.Producer
	// Kafka is the embedded brokers, nil for others.
	Kafka *kfake.Cluster
	// Proxy is nil without Options.Proxy.
	Proxy *faultproxy.Proxy

	o       Options
	broker  *broker.Broker
	direct  []string // addresses past the proxy, for reading
	history *checker.Writer
	path    string
	remove  func() error
	senders []*Sender
	room    chan struct{} // holds one for each record without a completion
	before  checker.Snapshot
	forgot  []time.Time           // when a host's ids were lost with it
	failed  atomic.Pointer[error] // of the history
	mu      sync.Mutex
	faults  map[string]int64
	done    bool
	txn     uint32 // the last transaction
	outcome checker.TxnOutcome
}

// liveness is how long sends may take once all faults have ended: much longer than
// a request waits and a retry pauses, on a machine that has other work.
const liveness = 30 * time.Second

// Start starts brokers, proxy, host and history. The caller calls Finish, or
// Close.
func Start(ctx context.Context, o Options) (*Trial, error) {
	o.applyDefaults()
	t := &Trial{o: o, faults: map[string]int64{}, room: make(chan struct{}, max(o.InFlight, 0)), remove: func() error { return nil }}
	if err := t.start(ctx); err != nil {
		return nil, errors.Join(err, t.Close(ctx))
	}
	return t, nil
}

func (t *Trial) start(ctx context.Context) error {
	if err := t.startBrokers(ctx); err != nil {
		return err
	}
	if err := t.startHistory(); err != nil {
		return err
	}
	var err error
	cfg, options := t.config()
	if t.Host, err = host.New(cfg, options...); err != nil {
		return err
	}
	if len(t.o.Addresses) > 0 {
		err = t.Host.CreateTopic(ctx, t.o.Topic, int32(t.o.Partitions), int16(t.o.Copies), t.o.TopicConfigs)
		if err != nil {
			return fmt.Errorf("the trial needs a topic of its own: %w", err)
		}
		if err := known(ctx, t.o.Addresses, t.o.Topic); err != nil {
			return err
		}
	}
	if t.Producer, err = t.Host.Producer(); err != nil {
		return err
	}
	for i := range t.o.Producers {
		t.senders = append(t.senders, t.newSender(i))
	}
	return nil
}

func (t *Trial) startBrokers(ctx context.Context) error {
	t.direct = t.o.Addresses
	if len(t.direct) == 0 {
		var err error
		cfg := config.Embedded{Partitions: t.o.Partitions, Topics: []string{t.o.Topic}}
		bo := broker.Options{Brokers: t.o.Embedded, Kafka: []kfake.Opt{kfake.BrokerConfigs(t.o.BrokerConfigs)}}
		if t.broker, err = broker.Start(ctx, &cfg, bo); err != nil {
			return err
		}
		t.Kafka, t.direct = t.broker.Cluster(), t.broker.Addrs()
	}
	if !t.o.Proxy {
		return nil
	}
	po := faultproxy.Options{Seed: t.o.Seed}
	if see := t.o.Observe; see != nil {
		po.Observe = func(r faultproxy.Request) { see(r.Broker, r.Key, r.Frame) }
	}
	var err error
	if t.Proxy, err = faultproxy.New(t.direct, po); err != nil {
		return err
	}
	for _, r := range t.o.Rules {
		t.Proxy.Add(r)
	}
	return nil
}

func (t *Trial) startHistory() error {
	t.path = t.o.History
	if t.path == "" {
		dir, err := os.MkdirTemp("", "klamm-history-")
		if err != nil {
			return err
		}
		t.path, t.remove = filepath.Join(dir, "history"), func() error { return os.RemoveAll(dir) }
	}
	var err error
	t.history, err = checker.Create(t.path, checker.Head{
		Topic: t.o.Topic, Seed: t.o.Seed, Started: t.now(), Durable: t.o.Durable, Hooks: true, Lanes: t.o.Lanes > 1, Window: t.o.Window,
	})
	return err
}

// config is the host's: a chain with the probe in front.
func (t *Trial) config() (host.Config, []host.Option) {
	cfg := config.Default()
	cfg.Cluster.BootstrapServers = t.direct
	if t.Proxy != nil {
		cfg.Cluster.BootstrapServers = t.Proxy.Addrs()
	}
	chain := host.ChainConfig{Topics: []string{t.o.Topic}, OnSend: []string{probeName}, Lanes: t.o.Lanes, AllowReorder: t.o.Lanes > 1}
	options := []host.Option{host.WithInterceptor(probeName, &probe{t})}
	switch {
	case t.o.Deduper != nil:
		chain.OnSend = append(chain.OnSend, deduperName)
		options = append(options, host.WithInterceptor(deduperName, t.o.Deduper))
	case t.o.Dedup:
		chain.OnSend = append(chain.OnSend, "dedup")
		cfg.State = map[string]host.StateConfig{"ids": {Backend: "memory", Clock: "record"}}
		cfg.Plugin = map[string]host.PluginConfig{"dedup": {
			Module: "builtin:dedup", State: "ids", Timeout: host.Duration(10 * time.Second), // faults are for the network
			Config: map[string]any{"id": []any{"header:" + checker.DedupHeader}, "window": t.o.Window.String()},
		}}
	}
	cfg.Chain = map[string]host.ChainConfig{"trial": chain}
	if t.o.Transactional {
		cfg.Producer.TransactionalID = t.o.Topic
	}
	if t.o.Config != nil {
		t.o.Config(&cfg)
	}
	if t.o.Logger != nil {
		options = append(options, host.WithLogger(t.o.Logger))
	}
	return cfg, options
}

// Seed replays the trial's records and faults.
func (t *Trial) Seed() uint64 { return t.o.Seed }

// Topic returns the records' topic.
func (t *Trial) Topic() string { return t.o.Topic }

// Rand returns numbers that belong to the seed, other ones for each stream.
func (t *Trial) Rand(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(t.o.Seed, stream)) }

// Sender returns one of Options.Producers. One goroutine uses it.
func (t *Trial) Sender(i int) *Sender { return t.senders[i] }

// Load sends n records, from all senders at once. It returns when all are
// accepted, not when they are completed.
func (t *Trial) Load(ctx context.Context, n int) error {
	errs := make([]error, len(t.senders))
	var all sync.WaitGroup
	for i, s := range t.senders {
		share := n / len(t.senders)
		if i < n%len(t.senders) {
			share++
		}
		all.Go(func() {
			for range share {
				if errs[i] = s.Send(ctx); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// Snapshot reads the topic as it is now; Finish compares.
func (t *Trial) Snapshot(ctx context.Context) error {
	var err error
	t.before, err = checker.TakeSnapshot(ctx, t.log())
	return err
}

// quiet is how long other brokers than embedded ones may still be writing what
// they were sent by a connection that has ended.
const quiet = time.Second

func (t *Trial) log() *checker.Kafka {
	k := &checker.Kafka{Topic: t.o.Topic, Brokers: t.direct}
	if t.Kafka == nil {
		k.Quiet = quiet
	}
	return k
}

// Count adds to the report's faults.
func (t *Trial) Count(fault string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults[fault]++
}

// Faults returns how many there were of each kind so far.
func (t *Trial) Faults() map[string]int64 {
	t.mu.Lock()
	all := maps.Clone(t.faults)
	t.mu.Unlock()
	if t.Proxy != nil {
		for name, n := range t.Proxy.Faults() {
			all[name] += n
		}
	}
	return all
}

// Heal ends the proxy's faults.
func (t *Trial) Heal() {
	if t.Proxy != nil {
		t.Proxy.Heal()
	}
}

// Finish ends the faults, completes every record, makes sure that each partition
// still takes one, unless the producer was closed, and judges. The report is there whenever the log could be
// read; the error tells of anything else that went wrong.
func (t *Trial) Finish(ctx context.Context) (*checker.Report, error) {
	t.Heal()
	err := t.Producer.Flush(ctx)
	if err == nil && t.txn > 0 {
		err = t.transact(ctx, true, func(txn uint32) error { return t.prove(ctx, txn) })
		if err == nil && t.outcome != checker.TxnCommitted {
			err = fmt.Errorf("a transaction after all faults is not committed (seed %d)", t.o.Seed)
		}
	} else if err == nil {
		err = t.prove(ctx, 0)
	}
	err = errors.Join(err, t.closeHost(ctx), t.history.Close())
	if lost := t.failed.Load(); lost != nil {
		err = errors.Join(err, *lost)
	}
	report, judging := t.judge(ctx)
	return report, errors.Join(err, judging, t.Close(ctx))
}

// prove sends to each partition until it has acknowledged a record: none may be
// stuck. Whatever becomes of them is in the history too.
func (t *Trial) prove(ctx context.Context, txn uint32) error {
	s := t.newSender(livenessProducer)
	s.txn = txn
	ctx, cancel := context.WithTimeout(ctx, liveness)
	defer cancel()
	var stuck []int32
	for p := range int32(t.o.Partitions) {
		stuck = append(stuck, p)
	}
	for len(stuck) > 0 {
		before := stuck
		var err error
		if stuck, err = s.probe(ctx, stuck); errors.Is(err, klamm.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("of partitions %v some are stuck %v after the faults (seed %d): %w", before, liveness, t.o.Seed, err)
		}
	}
	return nil
}

// probe sends a record to each partition and returns those that did not take it.
func (s *Sender) probe(ctx context.Context, partitions []int32) (failed []int32, err error) {
	type answer struct {
		partition int32
		outcome   checker.Outcome
	}
	answers := make(chan answer, len(partitions))
	for _, p := range partitions {
		if err := s.to(ctx, int(p), p, 0, func(o checker.Outcome) { answers <- answer{p, o} }); err != nil {
			return nil, err
		}
	}
	for range partitions {
		select {
		case a := <-answers:
			if a.outcome != checker.OK {
				failed = append(failed, a.partition)
			}
			if a.outcome == checker.Refused {
				_, err = s.Refused()
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return failed, err
}

func (t *Trial) judge(ctx context.Context) (*checker.Report, error) {
	h, err := checker.Load(t.path)
	if err != nil {
		return nil, err
	}
	offsets, err := t.offsets(ctx)
	if err != nil {
		return nil, err
	}
	r, err := checker.Judge(ctx, h, t.log(), checker.Options{Before: t.before, Repartitioned: t.o.Repartitioned, Offsets: offsets, Forgot: t.forgot})
	if err != nil {
		return nil, err
	}
	r.Faults = t.Faults()
	return r, nil
}

func (t *Trial) closeHost(ctx context.Context) error {
	if t.Host == nil {
		return nil
	}
	return t.Host.Close(ctx)
}

// Close ends whatever runs. It may be called twice, and after Finish.
func (t *Trial) Close(ctx context.Context) error {
	if t.done {
		return nil
	}
	t.done = true
	t.Heal()
	errs := []error{t.closeHost(ctx)}
	if t.Proxy != nil {
		errs = append(errs, t.Proxy.Close())
	}
	if t.broker != nil {
		errs = append(errs, t.broker.Close())
	}
	if t.history != nil {
		errs = append(errs, t.history.Close())
	}
	return errors.Join(append(errs, t.remove())...)
}

// enter waits for room for one more record in flight.
func (t *Trial) enter(ctx context.Context) error {
	if t.o.InFlight < 0 {
		return ctx.Err()
	}
	select {
	case t.room <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *Trial) leave() {
	if t.o.InFlight >= 0 {
		<-t.room
	}
}

// note keeps the first error of the history.
func (t *Trial) note(err error) {
	if err != nil {
		t.failed.CompareAndSwap(nil, &err)
	}
}

// now is the time in milliseconds, as records and histories have it.
func (t *Trial) now() time.Time { return time.UnixMilli(t.o.Now().UnixMilli()) }

// outcomeOf is a result in the history's words.
func outcomeOf(r *klamm.Result) checker.Outcome {
	switch {
	case r.Outcome == klamm.Written:
		return checker.OK
	case r.Outcome == klamm.Dropped:
		return checker.Dropped
	case r.Outcome == klamm.DeadLettered:
		return checker.DeadLettered
	case errors.Is(r.Err, klamm.ErrOutcomeUnknown):
		return checker.FailUnknown
	}
	return checker.FailDefinite
}
