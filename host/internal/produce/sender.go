package produce

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Times on the pipeline's clock.
const (
	never = time.Duration(math.MaxInt64)
	// awake is before every time: nobody need wake the sender.
	awake = time.Duration(-1)
)

// sender sends the batches of all partitions that one broker leads. One
// goroutine gathers and writes; see conn for the reading side.
type sender struct {
	pipeline *Pipeline
	broker   int32

	wake chan struct{} // holds one
	// dirty is set by whoever changed something that the sender must look at.
	// planned is when it looks next by itself. The sender clears dirty before
	// it looks, and stores planned before it reads dirty again; the other side
	// sets dirty before it reads planned. So one of the two sees the other.
	dirty   atomic.Bool
	planned atomic.Int64

	mu       sync.Mutex
	incoming []listed
	spare    []*request

	// trouble is why the broker cannot be reached at the moment.
	trouble atomic.Pointer[error]
	// failures counts connections without a single answer, in a row.
	failures atomic.Int32
	// throttled is until when the broker wants no requests.
	throttled atomic.Int64
	// blocked is since when nothing could be sent although there was something;
	// 0 while that is not so.
	blocked atomic.Int64

	// The rest belongs to the goroutine.
	full    bool         // counted in Pipeline.full
	ended   []endedBatch // given up by partition.look, to be completed
	active  []listed
	cursor  int // where the next request begins to gather
	conn    *conn
	dialed  chan dialResult
	dialing bool
	dialAt  time.Duration
	nextID  int32
}

type dialResult struct {
	transport transport
	err       error
}

// sender returns the sender for a broker, which it starts if need be.
func (p *Pipeline) sender(broker int32) *sender {
	p.sendersMu.Lock()
	defer p.sendersMu.Unlock()
	s := p.senders[broker]
	if s == nil {
		s = &sender{pipeline: p, broker: broker, wake: make(chan struct{}, 1), dialed: make(chan dialResult, 1)}
		s.planned.Store(int64(awake))
		p.senders[broker] = s
		p.running.Add(1)
		go s.run()
	}
	return s
}

func (p *Pipeline) kickAll() {
	p.sendersMu.Lock()
	defer p.sendersMu.Unlock()
	for _, s := range p.senders {
		s.kick()
	}
	p.keeper.kick()
}

// add lists a partition that has batches for this broker.
func (s *sender) add(e listed) {
	s.mu.Lock()
	s.incoming = append(s.incoming, e)
	s.mu.Unlock()
	s.dirty.Store(true)
}

// notify has the sender look at its partitions at a time at the latest.
func (s *sender) notify(at time.Duration) {
	s.dirty.Store(true)
	if int64(at) < s.planned.Load() {
		s.kick()
	}
}

// kick has the sender look now.
func (s *sender) kick() {
	s.dirty.Store(true)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *sender) run() {
	defer s.pipeline.running.Done()
	defer s.stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.dirty.Store(false)
		next, deaf := s.turn()
		if deaf {
			// Only a kick can change anything: a new batch need not wake us.
			s.planned.Store(int64(awake))
		} else {
			s.planned.Store(int64(next))
			if s.dirty.Load() {
				s.planned.Store(int64(awake))
				continue
			}
		}
		if next == never {
			timer.Stop()
		} else {
			timer.Reset(next - s.pipeline.now())
		}
		select {
		case <-s.wake:
		case <-timer.C:
		case r := <-s.dialed:
			s.connected(r)
		case <-s.pipeline.ctx.Done():
			return
		}
		s.planned.Store(int64(awake))
	}
}

// stop waits for a connection that is being made. One that is there ends by
// itself with the pipeline.
func (s *sender) stop() {
	if s.dialing {
		if r := <-s.dialed; r.transport != nil {
			r.transport.Close()
		}
	}
}

// turn sends what can be sent. It returns when to look again, and whether only
// a kick or that time can change anything.
func (s *sender) turn() (next time.Duration, deaf bool) {
	for {
		s.collect()
		s.fill(false)
		if len(s.active) == 0 {
			s.blocked.Store(0)
			return never, false
		}
		now := s.pipeline.now()
		if s.conn != nil {
			s.conn.renew(now)
			if s.conn.retired() {
				s.conn = nil
			} else if err := s.conn.broken(); err != nil {
				s.disconnected(err, now)
			}
		}
		if s.conn == nil {
			s.block(now)
			return s.dial(now), true
		}
		if until := time.Duration(s.throttled.Load()); now < until {
			s.block(now)
			return until, true
		}
		if !s.conn.room(now) {
			s.block(now)
			s.fill(true)
			return never, true
		}
		s.blocked.Store(0)
		r, at := s.gather(now)
		s.settleEnded()
		if r == nil {
			return at, false
		}
		s.send(r)
	}
}

// block notes since when nothing can be sent.
func (s *sender) block(now time.Duration) {
	if s.blocked.Load() == 0 {
		s.blocked.Store(int64(max(now, 1)))
	}
}

// fill notes whether the sender waits for an answer before it can send more.
func (s *sender) fill(full bool) {
	if full == s.full {
		return
	}
	s.full = full
	if full {
		s.pipeline.full.Add(1)
	} else {
		s.pipeline.full.Add(-1)
	}
}

// collect takes over the partitions that were listed since.
func (s *sender) collect() {
	s.mu.Lock()
	s.active = append(s.active, s.incoming...)
	clear(s.incoming)
	s.incoming = s.incoming[:0]
	s.mu.Unlock()
}

// gather makes a request of one batch of each partition that has one to give.
// If none is full or due it returns nil and when one will be.
func (s *sender) gather(now time.Duration) (*request, time.Duration) {
	best, next := s.survey(now)
	if best < ready {
		return nil, next
	}
	// Once a batch is due the others go along, full or not; where only full
	// ones are there, the others go on filling.
	least := ready
	if best == due {
		least = filling
	}
	r := s.request()
	bytes := 0
	for n := range s.active {
		i := (s.cursor + n) % len(s.active)
		b, more := s.active[i].offer(s, now, least, s.pipeline.set.maxRequest-bytes, len(r.batches) == 0)
		if !more {
			s.cursor = i // it goes first next time
			break
		}
		if b != nil {
			bytes += b.size()
			r.batches = append(r.batches, b)
		}
	}
	if len(r.batches) == 0 {
		s.done(r)
		return nil, next
	}
	return r, 0
}

// survey looks at all partitions. It returns the best readiness there is, and
// when it may become better by itself. It takes void entries off the list.
func (s *sender) survey(now time.Duration) (best readiness, next time.Duration) {
	next = never
	kept := s.active[:0]
	for _, e := range s.active {
		state, at := e.survey(s, now)
		if state == void {
			continue
		}
		kept = append(kept, e)
		best = max(best, state)
		next = min(next, at)
	}
	clear(s.active[len(kept):])
	s.active = kept
	return best, next
}

// survey is look for an entry of a list. It ends the listing of a partition
// that has nothing in its queue.
func (e listed) survey(s *sender, now time.Duration) (readiness, time.Duration) {
	t := e.part
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listing != e.listing || t.owner != s {
		return void, never
	}
	if t.queue.len() == 0 {
		t.active = false
		return void, never
	}
	return t.look(s, now)
}

// offer takes a batch if the partition is at least that ready. It reports false
// when the batch does not fit the room that is left; the first always does.
func (e listed) offer(s *sender, now time.Duration, least readiness, room int, first bool) (b *batch, more bool) {
	t := e.part
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listing != e.listing || t.owner != s || t.queue.len() == 0 {
		return nil, true
	}
	if state, _ := t.look(s, now); state < least {
		return nil, true
	}
	if !first && t.queue.at(0).size() > room {
		return nil, false
	}
	return t.take(s, now), true
}

// settleEnded completes what a restart has given up.
func (s *sender) settleEnded() {
	for i, e := range s.ended {
		s.pipeline.settleEarly(e.batch, e.end)
		s.ended[i] = endedBatch{}
	}
	s.ended = s.ended[:0]
}

// request returns an empty request.
func (s *sender) request() *request {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.spare); n > 0 {
		r := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return r
	}
	return &request{written: make(chan struct{}, 1)}
}

// done takes back a request that is over.
func (s *sender) done(r *request) {
	clear(r.batches)
	r.batches = r.batches[:0]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare = append(s.spare, r)
}

// send seals the batches and writes them.
func (s *sender) send(r *request) {
	p := s.pipeline
	slices.SortStableFunc(r.batches, func(a, b *batch) int { return cmp.Compare(a.part.topic.index, b.part.topic.index) })
	records := int64(0)
	for _, b := range r.batches {
		records += int64(b.header.count)
		first := !b.packed
		b.seal(p)
		if first {
			p.count.packed(b)
		}
	}
	s.nextID = (s.nextID + 1) & math.MaxInt32
	r.id = s.nextID
	r.sentAt = p.now()
	r.deadline = r.sentAt + p.set.request
	p.count.sent(len(r.batches), records)
	if s.conn.send(r) {
		return
	}
	// Nothing went out, so the batches go back as if they had not been taken.
	p.count.requestsInFlight.Add(-1)
	for _, b := range r.batches {
		p.untaken(b)
	}
	s.done(r)
}

// answered notes an answer's time and the broker's wish for a pause (KIP-219).
func (s *sender) answered(r *request, throttle time.Duration) {
	p := s.pipeline
	now := p.now()
	p.count.answered(now-r.sentAt, throttle)
	s.failures.Store(0)
	if throttle > 0 {
		s.throttled.Store(int64(now + throttle))
	}
}

// dial starts to connect, or returns when it may.
func (s *sender) dial(now time.Duration) time.Duration {
	if s.dialing {
		return never
	}
	if now < s.dialAt {
		return s.dialAt
	}
	s.dialing = true
	s.pipeline.running.Add(1)
	go func() {
		defer s.pipeline.running.Done()
		ctx, cancel := context.WithTimeout(s.pipeline.ctx, s.pipeline.set.request)
		defer cancel()
		t, err := s.pipeline.net.dial(ctx, s.broker)
		s.dialed <- dialResult{t, err}
	}()
	return never
}

func (s *sender) connected(r dialResult) {
	s.dialing = false
	p := s.pipeline
	err := r.err
	if err == nil {
		s.conn, err = newConn(s, r.transport)
		if err != nil {
			r.transport.Close()
		}
	}
	if err != nil {
		s.disconnected(fmt.Errorf("connect to broker %d: %w", s.broker, err), p.now())
		if fatal(err) {
			p.fail(fmt.Errorf("the producer has stopped: %w", err))
		}
		return
	}
	p.count.connections.Add(1)
	s.trouble.Store(nil)
}

// disconnected notes that the connection broke or was not to be had. Its
// partitions may have moved.
func (s *sender) disconnected(err error, now time.Duration) {
	p := s.pipeline
	s.conn = nil
	failures := s.failures.Add(1)
	s.dialAt = now + p.set.reconnect.after(int(failures))
	s.trouble.Store(&err)
	p.count.connectionsFailed.Add(1)
	if p.ctx.Err() != nil {
		return
	}
	if failures == 1 {
		p.log.Warn("connection lost", slog.Int("broker", int(s.broker)), slog.Any("err", err))
	}
	var last *topic
	for _, e := range s.active {
		if e.part.topic != last {
			last = e.part.topic
			p.net.refresh(last.name)
		}
	}
}
