// Package kafka keeps a state in a compacted topic, for pipelines that are
// exactly once: the ids of a transaction's records are records of the same
// transaction, as the offsets that were read are. So an id is remembered if and
// only if its record was written, whatever is killed and whenever.
//
// The topic has one partition for each partition that is read. Whoever reads
// partition 3 has the ids of partition 3: it reads them back when the partition
// is assigned, and writes to them until it is revoked. A host that was replaced
// meanwhile cannot: its transaction includes offsets, which the group's
// coordinator refuses, so that its ids are aborted with it.
//
// The way of a partition: Assign, Await, then for each transaction Stage (through
// the ledger) for each record that was written, Take, and after the commit
// Remember (through the ledger) and Committed; at last Revoke. A transaction that
// is not committed, or of which nobody knows, ends the life of its partitions:
// Aborted, then Revoke, and Assign reads what was committed after all. Keep spares
// the reading where a rebalance gives a partition back that nobody else had.
//
// All methods are safe for concurrent use.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/klamm-io/klamm/state"
)

// Options of New.
type Options struct {
	// Name, Scope and Clock are the state's, Pipeline is whose records it is for
	// and Topic where the ids are. A topic that was made for others is refused.
	Name, Pipeline, Topic string
	Scope, Clock          string
	// Replication is how many brokers a topic that is made keeps it on. Default:
	// what the brokers do by default.
	Replication int16
	// MaxEntries is how many ids all partitions remember together, each an equal
	// share, rounded up. MaxBytes bounds the values that plugins put, which stay
	// in this process.
	MaxEntries int
	MaxBytes   int64
	// Log is the topic.
	Log Log
	// Source tells which partition the record of a claim was read from; ok is
	// false for records that no pipeline reads, whose claims are refused.
	Source func(state.Ref) (partition int32, ok bool)
	// Standby is how long a partition's ids are kept that was revoked: a rebalance
	// often gives it back, and then only what came since is read. Default 1m.
	Standby time.Duration
	// Now is the clock by which ids have expired that are read back. Default
	// time.Now.
	Now func() time.Time
	// Logger gets what was read back and how long it took. Default: nothing is
	// logged.
	Logger *slog.Logger
}

const defaultStandby = time.Minute

// Backend is a state in a topic.
type Backend struct {
	o      Options
	values state.Backend
	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	tasks  sync.WaitGroup

	opening sync.Mutex // held by Open

	mu      sync.Mutex
	opened  bool
	key     state.Key // zero until Open has found it
	limit   int       // ids of one partition
	parts   map[int32]*part
	staged  queue
	writes  []Write // of Take
	arena   []byte  // their bytes
	buckets map[string]*bucket
	health  state.Health
}

var _ state.Transactional = (*Backend)(nil)

// New returns a Backend that has not looked at its topic yet; Open does.
func New(o Options) *Backend {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Standby <= 0 {
		o.Standby = defaultStandby
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = state.DefaultMaxEntries
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = state.DefaultMaxBytes
	}
	b := &Backend{
		o: o, values: state.NewMemory(1, o.MaxBytes), parts: make(map[int32]*part),
		buckets: make(map[string]*bucket),
	}
	b.health.Where, b.health.Size, b.health.Synced = "topic "+o.Topic, -1, -1
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

// Name returns the state's.
func (b *Backend) Name() string { return b.o.Name }

// Topic returns where the ids are.
func (b *Backend) Topic() string { return b.o.Topic }

// Key is zero until Open has returned.
func (b *Backend) Key() state.Key {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.key
}

// Bucket returns the part that belongs to one plugin.
func (b *Backend) Bucket(plugin string) state.Bucket {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.buckets[plugin]
	if p == nil {
		p = &bucket{Bucket: b.values.Bucket(plugin), b: b, plugin: plugin}
		b.buckets[plugin] = p
	}
	return p
}

// Flush returns nil: what was settled was committed before.
func (b *Backend) Flush(time.Duration) error { return nil }

// Health tells what was read back, and what is being.
func (b *Backend) Health() state.Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.health
	var failed *part // the first of them
	failures := 0
	for _, p := range b.parts {
		switch {
		case p.phase != restoring:
		case p.err == nil:
			h.Restoring++
			h.RestoreLag += max(0, p.end.Load()-p.applied.Load())
		default:
			failures++
			if failed == nil || p.id < failed.id {
				failed = p
			}
		}
	}
	switch {
	case failures == 1:
		h.Err = failed.err
	case failures > 1:
		h.Err = fmt.Errorf("%w (and %d more partitions)", failed.err, failures-1)
	}
	return h
}

// Close ends what is being read back. What is staged is not its business.
func (b *Backend) Close() error {
	b.stop()
	b.tasks.Wait()
	return nil
}

// wrap says whose error it is.
func (b *Backend) wrap(err error) error {
	return fmt.Errorf("state %q in topic %q: %w", b.o.Name, b.o.Topic, err)
}

var errNoSource = errors.New("the record was not read by the pipeline that the state belongs to: ids in Kafka are written in the pipeline's transactions; give producers and consumers of their own a state with another backend")

// bucket is one plugin's ids of all partitions. Its values are in memory.
type bucket struct {
	state.Bucket
	b      *Backend
	plugin string
	past   state.Usage // of partitions that went
}

var _ state.SourcedBucket = (*bucket)(nil)

// Find is for records of no pipeline.
func (u *bucket) Find(state.ID, int64) (state.Position, bool, error) {
	return state.Position{}, false, errNoSource
}

// FindFor looks in the partition that owner was read from.
func (u *bucket) FindFor(owner state.Ref, id state.ID, nowMS int64) (state.Position, bool, error) {
	partition, ok := u.b.o.Source(owner)
	if !ok {
		return state.Position{}, false, errNoSource
	}
	u.b.mu.Lock()
	defer u.b.mu.Unlock()
	p := u.b.parts[partition]
	if p == nil || p.phase != ready {
		return state.Position{}, false, u.b.wrap(fmt.Errorf("partition %d is not this host's now: its records are read again by the host that has it", partition))
	}
	return p.bucket(u.plugin).Find(id, nowMS)
}

// Remember takes what was staged into the window. It is committed by then. What is
// not staged any more is of a partition that has gone since: the log has it, and
// whoever reads the partition next reads it there.
func (u *bucket) Remember(id state.ID, at state.Position, _, nowMS int64) error {
	b := u.b
	b.mu.Lock()
	defer b.mu.Unlock()
	in, ok := b.staged.find(id)
	if !ok {
		return nil
	}
	s := &in.part.staged[in.i]
	if s.claim.at != at || s.claim.plugin != u.plugin {
		return nil
	}
	s.done = true
	return in.part.bucket(u.plugin).Remember(id, at, s.claim.expiresMS, nowMS)
}

// Usage adds the partitions up.
func (u *bucket) Usage() state.Usage {
	sum := u.Bucket.Usage()
	u.b.mu.Lock()
	defer u.b.mu.Unlock()
	sum.Evictions, sum.Expired = u.past.Evictions, u.past.Expired
	for _, p := range u.b.parts {
		if p.phase == ready {
			now := p.bucket(u.plugin).Usage()
			sum.Entries += now.Entries
			sum.Evictions += now.Evictions
			sum.Expired += now.Expired
		}
	}
	return sum
}
