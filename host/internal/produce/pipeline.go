// Package produce is Klamm's producer pipeline: it gathers records in batches,
// sends them to the partitions' leaders and makes sure that each is written
// once and in order, with the guarantees of Kafka's idempotent producer.
//
// A record's way: Append encodes it into its partition's open batch
// (accumulator.go, encode.go). The goroutine of the broker that leads the
// partition takes batches that are full or due, stamps them with a sequence
// (sequence.go) and writes them as one request (sender.go, frame.go). The
// connection's reader (conn.go, response.go) hands each batch its answer, and
// the table in errors.go says whether it is done, goes again, or fails
// (answer.go). One more goroutine watches the clock and the metadata
// (keeper.go).
//
// Locks, in the order in which they may be held together: partition.mu, then
// one of sender.mu, keeper.mu, conn.mu, memory.mu, identity.mu or
// Pipeline.sendersMu. No lock is held while complete is called.
//
// All methods of Pipeline are safe for concurrent use.
package produce

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

// Pipeline takes records and sends them to the leaders of their partitions.
type Pipeline struct {
	set        settings
	net        network
	clientID   string
	log        *slog.Logger
	complete   func(*Completion)
	start      time.Time
	compressor *compressor
	pool       buffers
	batches    sync.Pool
	mem        *memory
	identity   identity
	txn        *transactions // nil without a transactional id
	keeper     *keeper
	count      counters

	topics   atomic.Pointer[map[string]*topic]
	topicsMu sync.Mutex // held to change topics

	sendersMu sync.Mutex
	senders   map[int32]*sender

	// full is how many senders wait for an answer before they can send more.
	full   atomic.Int32
	breath breath

	flushes atomic.Int32
	closing atomic.Bool
	// stop is why the pipeline writes nothing any more: a fatal error, or Close
	// ran out of time. nil while it works.
	stop atomic.Pointer[error]
	// stuck is why there is no producer id yet, or why the coordinator has not
	// done what it was last asked; nil once that is over.
	stuck atomic.Pointer[error]
	// incomplete is how many batches have not been completed.
	incomplete atomic.Int64

	ctx     context.Context // ends with the goroutines
	cancel  context.CancelFunc
	unwatch func() // ends the notes about metadata
	running sync.WaitGroup
	idle    chan struct{} // gets a value when a closing pipeline is empty
	closed  chan struct{} // closed when Close is through
}

var errEnded = fmt.Errorf("the pipeline has ended: %w", klamm.ErrClosed)

// New starts a pipeline. complete is called exactly once for every record that
// Append took, a batch of them at a time, from the pipeline's goroutines. It
// must not wait. log nil discards.
func New(cfg *config.Producer, c Cluster, complete func(*Completion), log *slog.Logger) (*Pipeline, error) {
	return newPipeline(cfg, networkOf(cfg, c), complete, log)
}

func networkOf(cfg *config.Producer, c Cluster) network {
	n := clusterNetwork{Cluster: c, id: c.Config().ClientID}
	if cfg.Transport == config.TransportSarama {
		return plainNetwork{n, cfg.MaxInFlight, cfg.CompressionLevel}
	}
	return n
}

func newPipeline(cfg *config.Producer, n network, complete func(*Completion), log *slog.Logger) (*Pipeline, error) {
	set, err := newSettings(cfg)
	if err != nil {
		return nil, fmt.Errorf("producer: %w", err)
	}
	set.reconnect, set.idle = n.links()
	compressor, err := newCompressor(set.codec, set.level)
	if err != nil {
		return nil, fmt.Errorf("producer: %w", err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	p := &Pipeline{
		set: set, net: n, clientID: n.clientID(), log: log, complete: complete, start: time.Now(),
		compressor: compressor,
		senders:    map[int32]*sender{},
		breath:     newBreath(),
		idle:       make(chan struct{}, 1),
		closed:     make(chan struct{}),
	}
	p.count.init()
	p.topics.Store(&map[string]*topic{})
	p.mem = newMemory(set.memory, p.kickAll)
	p.keeper = newKeeper(p)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.identity.ask = func() {
		p.running.Add(1)
		go p.askProducerID()
	}
	p.running.Add(1)
	go p.keeper.run()
	switch {
	case set.transactionalID != "":
		p.txn = newTransactions(p)
		p.running.Add(1)
		go p.txn.run()
	case set.idempotent:
		p.identity.ask()
	}
	p.unwatch = n.watch(p.keeper.topicChanged)
	return p, nil
}

// now is the pipeline's clock. It never goes back.
func (p *Pipeline) now() time.Duration { return time.Since(p.start) }

// urgent reports whether every batch is ready, full or not: somebody flushes,
// the pipeline closes, or buffer memory is used up and waited for.
func (p *Pipeline) urgent() bool {
	return p.flushes.Load() > 0 || p.closing.Load() || p.mem.waiting.Load() > 0
}

// refusal returns why records are not taken, nil if they are.
func (p *Pipeline) refusal() error {
	if p.closing.Load() {
		return fmt.Errorf("producer: %w", klamm.ErrClosed)
	}
	if stop := p.stop.Load(); stop != nil {
		return *stop
	}
	return nil
}

// Reserve waits for n bytes of buffer memory (buffer_memory), first come first
// served. It ends with klamm.ErrBufferFull at the deadline, with the context's
// error, with klamm.ErrClosed, and with klamm.ErrRecordTooLarge at once when
// the memory as a whole is smaller than n.
func (p *Pipeline) Reserve(ctx context.Context, n int, deadline time.Time) error {
	return p.mem.reserve(ctx, n, deadline)
}

// TryReserve is Reserve for those who do not wait. It reports whether it has the
// bytes; without, Reserve knows why.
func (p *Pipeline) TryReserve(n int) bool { return p.mem.try(int64(n)) }

// Share is how many bytes may be taken in advance by somebody who goes on to
// append: so few that whoever waits for memory does not miss them. It is 0 where
// buffer_memory is small.
func (p *Pipeline) Share() int { return int(min(p.mem.total/1024, shareMost)) }

const shareMost = 64 << 10

// OnWait has f called, besides, each time that somebody has begun to wait for
// memory in Reserve: those who took some in advance give it back then. It is to
// be set before anybody reserves.
func (p *Pipeline) OnWait(f func()) {
	p.mem.onWait = func() { p.kickAll(); f() }
}

// Overdraw takes n bytes without waiting: a record has grown after Reserve.
func (p *Pipeline) Overdraw(n int) { p.mem.overdraw(n) }

// Release gives back n bytes that were reserved and not appended.
func (p *Pipeline) Release(n int) { p.mem.release(n) }

// Append copies the record into its partition's batch. It never waits. After an
// error nothing was taken over and r.Reserved is still the caller's.
func (p *Pipeline) Append(r *Record) error {
	t, err := p.partition(r.Topic, r.Partition)
	if err != nil {
		return err
	}
	return t.append(r)
}

// Load sets dst to the bytes that are queued for each partition of the topic,
// in their order, and returns it. A topic that had no record yet gives none.
func (p *Pipeline) Load(topic string, dst []uint32) []uint32 {
	dst = dst[:0]
	t := (*p.topics.Load())[topic]
	if t == nil {
		return dst
	}
	for _, part := range *t.parts.Load() {
		dst = append(dst, uint32(min(part.queued(), math.MaxUint32)))
	}
	return dst
}

// Stalled reports whether a broker has taken nothing of what is due for it for
// partitioner_availability_timeout_ms. It is always false where that is 0.
func (p *Pipeline) Stalled(broker int32) bool {
	if p.set.stalled == 0 {
		return false
	}
	p.sendersMu.Lock()
	s := p.senders[broker]
	p.sendersMu.Unlock()
	if s == nil {
		return false
	}
	since := time.Duration(s.blocked.Load())
	return since > 0 && p.now()-since > p.set.stalled
}

// BeginFlush makes every batch ready at once until end is called. Flushes may
// overlap.
func (p *Pipeline) BeginFlush() (end func()) {
	p.flushes.Add(1)
	p.kickAll()
	var once sync.Once
	return func() { once.Do(func() { p.flushes.Add(-1) }) }
}

// Close refuses further records, sends what is there until ctx ends, and fails
// the rest: with klamm.ErrClosed, or klamm.ErrOutcomeUnknown what may be in the
// log. After it returns complete is never called again. A second Close waits
// for the first. It must not be called from complete.
func (p *Pipeline) Close(ctx context.Context) error {
	if p.closing.Swap(true) {
		<-p.closed
		return nil
	}
	defer close(p.closed)
	p.mem.close(fmt.Errorf("producer: %w", klamm.ErrClosed))
	// Whoever is in Append now either sees closing, or ends before we have its
	// partition's lock.
	p.topicsMu.Lock()
	p.each((*partition).barrier)
	p.topicsMu.Unlock()
	p.kickAll()

	var err error
	if p.txn != nil {
		err = p.txn.close(ctx)
	}
	for p.incomplete.Load() > 0 && err == nil {
		select {
		case <-p.idle:
		case <-ctx.Done():
			if n := p.incomplete.Load(); n > 0 {
				err = fmt.Errorf("close the producer: %d batches were not acknowledged: %w", n, context.Cause(ctx))
			}
		}
	}
	p.endForced()
	p.unwatch()
	p.cancel()
	p.running.Wait()
	return err
}

// wakeClose tells Close that there is nothing left.
func (p *Pipeline) wakeClose() {
	select {
	case p.idle <- struct{}{}:
	default:
	}
}

// Stats returns the pipeline's figures.
func (p *Pipeline) Stats() Stats {
	c := &p.count
	s := Stats{
		BufferTotal:       p.mem.total,
		BufferAvailable:   p.mem.free.Load(),
		BufferWaited:      time.Duration(p.mem.waited.Load()),
		BufferExhausted:   p.mem.exhausted.Load(),
		RecordsSent:       c.sentRecords.Load(),
		RecordsAcked:      c.ackedRecords.Load(),
		RecordsFailed:     c.failedRecords.Load(),
		RecordsUnknown:    c.unknownRecords.Load(),
		RecordsRetried:    c.retriedRecords.Load(),
		BatchesOpen:       p.incomplete.Load(),
		BatchesSent:       c.sentBatches.Load(),
		BatchesAcked:      c.ackedBatches.Load(),
		BatchesRetried:    c.retriedBatches.Load(),
		BatchesSplit:      c.splits.Load(),
		BatchesExpired:    c.expired.Load(),
		BatchSize:         c.batchSize.snapshot(),
		RecordBytes:       c.recordBytes.Load(),
		QueueTime:         c.queueTime.snapshot(),
		Requests:          c.requests.Load(),
		RequestsInFlight:  c.requestsInFlight.Load(),
		RequestLatency:    c.latency.snapshot(),
		Throttled:         c.throttled.snapshot(),
		ConnectionsOpened: c.connections.Load(),
		ConnectionsFailed: c.connectionsFailed.Load(),
		ProducerID:        -1,
		ProducerEpoch:     -1,
		EpochBumps:        p.identity.bumps.Load(),
	}
	p.mem.mu.Lock()
	s.BufferWaiters = len(p.mem.queue)
	p.mem.mu.Unlock()
	if id := p.identity.current(); id != nil {
		s.ProducerID, s.ProducerEpoch = id.producerID, id.epoch
	}
	p.each(func(t *partition) {
		t.mu.Lock()
		s.QueuedBytes += t.queuedBytes
		s.RecordsAppended += t.appended
		t.mu.Unlock()
	})
	return s
}

// barrier returns when nobody who had the partition's lock before has it any more.
func (t *partition) barrier() {
	t.mu.Lock()
	defer t.mu.Unlock()
}
