package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/internal/config"
)

const (
	// fetchVersion is the first one that names topics by their ids (KIP-516), so
	// that a topic made anew is not taken for the old one.
	fetchVersion = 13
	// fetchVersionNames is the last one that names them by their names, for
	// brokers that have told no ids.
	fetchVersionNames = 12
	// fetchMaxBytes bounds one answer, unless its first batch alone is larger.
	//
	// It is the default of Kafka's fetch.max.bytes.
	fetchMaxBytes = 50 << 20
	// answerTimeout is how long an answer may take beyond what was asked for.
	answerTimeout = 30 * time.Second
	// fetchPause is how long partitions without news are left alone while others
	// have records that wait for the handler.
	fetchPause = 20 * time.Millisecond
	// fetchGlance is half of how long the first request for so many partitions waits
	// at the broker.
	fetchGlance = time.Millisecond

	retryBackoff    = 100 * time.Millisecond
	retryBackoffMax = time.Second
)

// fetchConfig is what a fetcher takes of config.Consumer, with its defaults.
type fetchConfig struct {
	readCommitted  bool
	reset          config.OffsetReset
	maxPollRecords int
	minBytes       int32
	partitionBytes int32
	maxWait        time.Duration
}

func newFetchConfig(c *config.Consumer) fetchConfig {
	f := fetchConfig{
		readCommitted:  c.IsolationLevel != "read_uncommitted",
		reset:          c.AutoOffsetReset,
		maxPollRecords: c.MaxPollRecords,
		minBytes:       int32(min(c.FetchMinBytes, fetchMaxBytes)),
		partitionBytes: int32(min(c.FetchMaxBytes, fetchMaxBytes)),
		maxWait:        c.FetchMaxWait.Std(),
	}
	if f.reset == "" {
		f.reset = "earliest"
	}
	if f.maxPollRecords <= 0 {
		f.maxPollRecords = 500
	}
	if f.minBytes <= 0 {
		f.minBytes = 1
	}
	if f.partitionBytes <= 0 {
		f.partitionBytes = 1 << 20
	}
	if f.maxWait <= 0 {
		f.maxWait = 500 * time.Millisecond
	}
	return f
}

// fetcher reads partitions from their leaders, one connection and goroutine per
// broker. Of each partition it keeps one answer ahead of the handler.
type fetcher struct {
	cluster *cluster.Cluster
	cfg     fetchConfig
	log     *slog.Logger

	ctx    context.Context // ends with close
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	parts   []*partition
	brokers map[int32]*brokerFetcher
	kick    chan struct{} // wakes assign
}

// partition is one that is read. The fetcher's mu guards all but data.
type partition struct {
	klamm.TopicPartition
	// data hands fetched batches to the goroutine that calls the handler.
	data chan fetched

	sought  chan struct{} // tells the same goroutine of a seek
	seek    int64         // where to, noSeek
	topicID [16]byte      // as the reading began; zero: not known

	next    int64 // offset to fetch; below 0 is a reset that is due
	asked   int64 // next, as of the request under way
	epoch   int32 // of the records before next, -1: not known
	broker  int32 // that fetches it, -1: none
	full    bool  // data has an answer that was not taken
	paused  bool
	resumed chan struct{} // closed by resume
	removed bool
	retryAt time.Time
	retries int
}

// fetched is one answer for a partition, or what ended its reading.
type fetched struct {
	raw           []byte
	from, next    int64
	aborted       []abortedTxn
	highWatermark int64
	err           error
}

func newFetcher(c *cluster.Cluster, cfg fetchConfig, log *slog.Logger) *fetcher {
	f := &fetcher{cluster: c, cfg: cfg, log: log, brokers: make(map[int32]*brokerFetcher), kick: make(chan struct{}, 1)}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	stop := c.Watch(func(*cluster.Topic) { f.wake() })
	f.done.Go(func() { defer stop(); f.assign() })
	return f
}

// close ends every goroutine of the fetcher's and waits for them.
func (f *fetcher) close() {
	f.cancel()
	f.done.Wait()
}

func (f *fetcher) wake() { poke(f.kick) }

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// add starts reading at offset next.
func (f *fetcher) add(tp klamm.TopicPartition, next int64, paused bool) *partition {
	p := &partition{
		TopicPartition: tp, data: make(chan fetched, 1), sought: make(chan struct{}, 1), seek: noSeek,
		next: next, epoch: -1, broker: -1, paused: paused,
	}
	if t := f.cluster.Topic(tp.Topic); t != nil {
		p.topicID = t.ID
	}
	p.resumed = make(chan struct{})
	if !paused {
		close(p.resumed)
	}
	f.mu.Lock()
	f.parts = append(f.parts, p)
	f.mu.Unlock()
	f.wake()
	return p
}

// remove ends the reading. An answer on its way is dropped.
func (f *fetcher) remove(p *partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.removed = true
	f.parts = slices.DeleteFunc(f.parts, func(q *partition) bool { return q == p })
}

// taken is called when p.data was received from: the next answer may be fetched.
func (f *fetcher) taken(p *partition) {
	f.mu.Lock()
	p.full = false
	b := f.brokers[p.broker]
	f.mu.Unlock()
	if b != nil {
		poke(b.kick)
	}
}

func (f *fetcher) pause(tp klamm.TopicPartition, on bool) {
	f.mu.Lock()
	for _, p := range f.parts {
		if p.TopicPartition != tp || p.paused == on {
			continue
		}
		p.paused = on
		if on {
			p.resumed = make(chan struct{})
		} else {
			close(p.resumed)
		}
		if b := f.brokers[p.broker]; b != nil {
			poke(b.kick)
		}
	}
	f.mu.Unlock()
}

// unpaused is closed while p is not paused.
func (f *fetcher) unpaused(p *partition) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return p.resumed
}

// assign gives each partition to the fetcher of its leader, and again whenever
// leaders change or a partition was given back.
func (f *fetcher) assign() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(f.assignAll())
		select {
		case <-f.kick:
		case <-timer.C:
		case <-f.ctx.Done():
			return
		}
	}
}

// assignAll returns how long nothing has to be done.
func (f *fetcher) assignAll() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	wait, now := time.Minute, time.Now()
	for _, p := range slices.Clone(f.parts) {
		f.cluster.Topic(p.Topic) // it is in use, also while it is paused or its handler slow
		if p.broker >= 0 {
			continue
		}
		if d := p.retryAt.Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		if p.full { // an error may have to be told, and there is no room for it
			wait = min(wait, retryBackoff)
			continue
		}
		if err := f.gone(p); err != nil {
			f.failLocked(p, err)
			continue
		}
		leader, _ := f.cluster.Leader(p.Topic, p.Partition)
		if leader < 0 {
			f.cluster.Refresh(p.Topic)
			wait = min(wait, retryBackoff)
			continue
		}
		p.broker = leader
		b := f.brokers[leader]
		if b == nil {
			b = &brokerFetcher{f: f, id: leader, kick: make(chan struct{}, 1)}
			f.brokers[leader] = b
			f.done.Go(b.run)
		}
		poke(b.kick)
	}
	return wait
}

// giveBackLocked takes a partition from its broker; assign finds it another one
// after a pause.
func (f *fetcher) giveBackLocked(p *partition) {
	p.broker = -1
	p.retryAt = time.Now().Add(min(retryBackoff<<min(p.retries, 4), retryBackoffMax))
	p.retries++
	f.wake()
}

// fail ends the reading of p with an error for its handler.
func (f *fetcher) failLocked(p *partition, err error) {
	f.deliverLocked(p, fetched{err: err})
	f.parts = slices.DeleteFunc(f.parts, func(q *partition) bool { return q == p })
	p.removed = true
}

// deliverLocked never waits: p is fetched only while data is empty.
func (f *fetcher) deliverLocked(p *partition, d fetched) {
	p.full = true
	p.data <- d
}

// brokerFetcher fetches from one broker the partitions that it leads.
type brokerFetcher struct {
	f    *fetcher
	id   int32
	kick chan struct{}
	conn *cluster.Conn
	turn int // rotates the partitions: the first one of a request is served best
	// patience is how long the next request may wait at the broker. It grows while
	// there is no news: a partition that comes meanwhile, as at the start of a
	// group, cannot be asked for before the answer.
	patience time.Duration
	asked    int // partitions of the last request
	answers  answers
}

func (b *brokerFetcher) run() {
	defer b.hangUp()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for b.f.ctx.Err() == nil {
		parts, all := b.pick()
		if len(parts) == 0 || !all {
			// Where some partitions wait for their handlers, the others are
			// asked for without waiting at the broker, and not in a hurry.
			wait := fetchPause
			if len(parts) == 0 {
				wait = time.Minute
			}
			timer.Reset(wait)
			select {
			case <-b.kick:
			case <-timer.C:
			case <-b.f.ctx.Done():
				return
			}
			if parts, all = b.pick(); len(parts) == 0 {
				continue
			}
		}
		b.fetch(parts, all)
	}
}

// pick returns the partitions that can be fetched now. all tells that no other
// one of the broker's waits for its handler.
func (b *brokerFetcher) pick() (parts []*partition, all bool) {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	all = true
	for _, p := range b.f.parts {
		switch {
		case p.broker != b.id || p.paused:
		case p.full:
			all = false
		default:
			parts = append(parts, p)
		}
	}
	if len(parts) > 0 {
		b.turn = (b.turn + 1) % len(parts)
		parts = append(parts[b.turn:len(parts):len(parts)], parts[:b.turn]...)
	}
	return parts, all
}

func (b *brokerFetcher) hangUp() {
	if b.conn != nil {
		b.conn.Close()
		b.conn = nil
	}
}

// fetch makes one request and hands out its answer.
func (b *brokerFetcher) fetch(parts []*partition, wait bool) {
	if len(parts) != b.asked { // there may be more to come
		b.asked, b.patience = len(parts), fetchGlance
	}
	ctx, cancel := context.WithTimeoutCause(b.f.ctx, b.f.cfg.maxWait+answerTimeout, errNoAnswer)
	defer cancel()
	patience := time.Duration(0)
	if wait {
		b.patience = min(2*b.patience, b.f.cfg.maxWait)
		patience = b.patience
	}
	resp, err := b.request(ctx, parts, patience)
	if err != nil {
		b.hangUp()
		b.lost(parts, err)
		return
	}
	b.answers.begin(resp)
	defer b.answers.end()
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	for _, p := range parts {
		// A seek has changed its mind while the request was under way.
		if p.removed || p.asked != p.next {
			continue
		}
		if err := b.take(p, b.answers.of(p)); err != nil {
			b.f.failLocked(p, err)
		}
	}
}

var errNoAnswer = errors.New("no answer in time")

// lost gives the partitions of a broker that cannot be reached back.
func (b *brokerFetcher) lost(parts []*partition, err error) {
	if b.f.ctx.Err() != nil {
		return
	}
	b.f.log.Debug("fetch", "broker", b.id, "err", err)
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	for _, p := range parts {
		b.f.cluster.Refresh(p.Topic)
		b.f.giveBackLocked(p)
	}
}

func (b *brokerFetcher) request(ctx context.Context, parts []*partition, wait time.Duration) (*kmsg.FetchResponse, error) {
	if b.conn == nil {
		var err error
		if b.conn, err = b.f.cluster.Dial(ctx, b.id); err != nil {
			return nil, err
		}
	}
	if err := b.resetOffsets(ctx, parts); err != nil {
		return nil, err
	}
	req, version := b.f.fetchRequest(parts, wait)
	if len(req.Topics) == 0 {
		return new(kmsg.FetchResponse), nil
	}
	resp, err := b.conn.Request(ctx, req, version)
	if err != nil {
		return nil, err
	}
	fr := resp.(*kmsg.FetchResponse)
	return fr, brokerError(fr.ErrorCode)
}

func (f *fetcher) fetchRequest(parts []*partition, wait time.Duration) (*kmsg.FetchRequest, int16) {
	req, version := kmsg.NewPtrFetchRequest(), int16(fetchVersion)
	req.MinBytes, req.MaxBytes = f.cfg.minBytes, fetchMaxBytes
	req.MaxWaitMillis = int32(wait.Milliseconds())
	if f.cfg.readCommitted {
		req.IsolationLevel = 1
	}
	topics := map[string]int{} // places in req
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range parts {
		if p.next < 0 || p.removed {
			continue
		}
		if err := f.gone(p); err != nil {
			f.failLocked(p, err)
			continue
		}
		p.asked = p.next
		if p.topicID == [16]byte{} {
			version = fetchVersionNames
		}
		_, epoch := f.cluster.Leader(p.Topic, p.Partition)
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = p.Partition, p.next, f.cfg.partitionBytes
		rp.CurrentLeaderEpoch = epoch
		i, ok := topics[p.Topic]
		if !ok {
			rt := kmsg.NewFetchRequestTopic()
			rt.Topic, rt.TopicID = p.Topic, p.topicID
			i = len(req.Topics)
			req.Topics, topics[p.Topic] = append(req.Topics, rt), i
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
	}
	return req, version
}

// take stores an answer. An error ends the reading of p.
func (b *brokerFetcher) take(p *partition, a *kmsg.FetchResponseTopicPartition) error {
	if a == nil {
		return nil // reset just now, or not mentioned: asked for again
	}
	code := klamm.Code(a.ErrorCode)
	switch {
	case code == klamm.CodeOffsetOutOfRange:
		return b.outOfRange(p)
	case code.Retriable() || code == klamm.CodeUnknownServerError:
		if l := a.CurrentLeader; l.LeaderID >= 0 {
			b.f.cluster.SetLeader(p.Topic, p.Partition, l.LeaderID, l.LeaderEpoch)
		}
		b.f.cluster.Refresh(p.Topic)
		b.f.giveBackLocked(p)
		return nil
	case code != klamm.CodeNone:
		return fmt.Errorf("read %s/%d: %w", p.Topic, p.Partition, brokerError(a.ErrorCode))
	}
	p.retries = 0
	next, err := nextOffset(a.RecordBatches, p.next)
	if err != nil {
		return &CorruptError{p.TopicPartition, p.next, err}
	}
	if next == p.next {
		return nil
	}
	d := fetched{raw: a.RecordBatches, from: p.next, next: next, highWatermark: a.HighWatermark}
	for _, t := range a.AbortedTransactions {
		d.aborted = append(d.aborted, abortedTxn{t.ProducerID, t.FirstOffset})
	}
	p.next, b.patience = next, fetchPause/2
	b.f.deliverLocked(p, d)
	return nil
}

// outOfRange follows auto_offset_reset.
func (b *brokerFetcher) outOfRange(p *partition) error {
	at, err := resetOffset(b.f.cfg.reset)
	if err != nil {
		return fmt.Errorf("%s/%d: offset %d is not in the log: %w", p.Topic, p.Partition, p.next, err)
	}
	b.f.log.Warn("offset is not in the log, reading on by auto_offset_reset", "topic", p.Topic, "partition", p.Partition, "offset", p.next, "auto_offset_reset", b.f.cfg.reset)
	p.next = at
	return nil
}
