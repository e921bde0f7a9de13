package produce

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/klamm-io/klamm"
)

// run asks the coordinators, one request at a time, until the pipeline ends.
func (m *transactions) run() {
	defer m.p.running.Done()
	defer m.hangUp()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next := m.turn()
		if next == never {
			timer.Stop()
		} else {
			timer.Reset(next - m.p.now())
		}
		select {
		case <-m.wake:
		case <-timer.C:
		case <-m.p.ctx.Done():
			m.die(m.unfinished())
			return
		}
	}
}

// unfinished is why nothing goes on when the pipeline has ended.
func (m *transactions) unfinished() error {
	if m.commitAsked {
		return fmt.Errorf("%w: EndTxn (commit) got no answer: %w", klamm.ErrOutcomeUnknown, errEnded)
	}
	return errEnded
}

func (m *transactions) hangUp() {
	m.home.hangUp()
	for _, k := range m.groupsAt {
		k.hangUp()
	}
}

// turn does what is to be done now and returns when there is more.
func (m *transactions) turn() time.Duration {
	for m.p.ctx.Err() == nil {
		do := m.choose()
		if do == nil {
			return never
		}
		if now := m.p.now(); now < m.retryAt {
			return m.retryAt
		}
		do()
	}
	return never
}

// choose returns what comes next: first the producer id, then what belongs to
// the transaction, its end last. What needs no coordinator is done here.
func (m *transactions) choose() func() {
	m.mu.Lock()
	state, number := m.state, m.number
	m.mu.Unlock()
	m.flush(state == committing)
	if state == lost || state == aborting || state == failed {
		m.endUnsent()
	}
	// Looked at in this order: once no record is taken, quiet stays.
	quiet := (state == committing || state == aborting) && m.p.quiet()
	if quiet && number == math.MaxUint16 { // numbers begin anew: no partition may meet its old one
		m.p.each(func(t *partition) {
			t.mu.Lock()
			t.txnIn, t.txnAdded = 0, 0
			t.mu.Unlock()
		})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != state || m.number != number {
		m.kick() // look again
		return nil
	}
	switch state {
	case initializing:
		return m.initProducerID
	case inTransaction, committing:
		if do := m.chooseAddition(); do != nil {
			return do
		}
	}
	switch {
	case !quiet || m.stillAdding():
		return nil
	case m.mustEnd():
		commit := state == committing
		return func() { m.endTransaction(commit) }
	}
	m.ended(state)
	m.kick()
	return nil
}

// chooseAddition returns what adds to the transaction. m.mu is held.
func (m *transactions) chooseAddition() func() {
	if len(m.fresh) > 0 {
		return m.addPartitions
	}
	if len(m.offsets) == 0 {
		return nil
	}
	c := m.offsets[0]
	if !m.implicit.Load() && !m.groups[c.group.Group] {
		return func() { m.addOffsets(c) }
	}
	return func() { m.commitOffsets(c) }
}

// stillAdding reports whether a commit waits for an addition. m.mu is held.
func (m *transactions) stillAdding() bool {
	return m.state == committing && len(m.fresh)+len(m.offsets) > 0
}

// mustEnd reports whether the coordinator has, or may have, a transaction.
// m.mu is held.
func (m *transactions) mustEnd() bool {
	return !m.forgotten && (m.accepted > 0 || m.maybe || m.implicit.Load() && m.took.Load())
}

// flush has a commit's batches sent at once.
func (m *transactions) flush(on bool) {
	switch {
	case on && m.hurry == nil:
		m.hurry = m.p.BeginFlush()
	case !on && m.hurry != nil:
		m.hurry()
		m.hurry = nil
	}
}

// quiet reports whether no batch is left, neither without an outcome nor on the
// wire. One that delivery_timeout ended there could be written after the
// transaction's end.
func (p *Pipeline) quiet() bool {
	p.each((*partition).barrier) // who is in append is counted now
	if p.incomplete.Load() > 0 {
		return false
	}
	quiet := true
	p.each(func(t *partition) {
		t.mu.Lock()
		defer t.mu.Unlock()
		quiet = quiet && t.onWire == 0
	})
	return quiet
}

// endUnsent fails the batches that were never taken. The others are repeated
// until a broker answers: only so is it known that none is written after the
// transaction's end.
func (m *transactions) endUnsent() {
	m.mu.Lock()
	cause := m.err
	m.mu.Unlock()
	reason := klamm.ErrTransactionAborted
	if cause != nil {
		reason = fmt.Errorf("%w: %w", klamm.ErrTransactionAborted, cause)
	}
	m.p.endAll(func(b *batch) error {
		if b.taken {
			return nil
		}
		return reason
	})
}

// ended goes on after a transaction's end. m.mu is held.
func (m *transactions) ended(how txnState) {
	m.finish(how, nil)
	m.err = nil
	m.commitAsked = false
	m.begun = unknown // from here on, what refuses our epoch is not this one's age
	m.state = idle
	m.fresh = m.fresh[:0]
	if m.bump || m.late || m.forgotten || m.home.conn != nil && m.home.implicit != m.implicit.Load() {
		m.initialize()
	}
}

// adopt makes id the identity of all partitions. Nothing is in flight.
func (m *transactions) adopt(id int64, epoch int16) {
	p := m.p
	fresh := &stamp{id, epoch}
	p.identity.now.Store(fresh)
	p.each(func(t *partition) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.adopt(fresh)
	})
	p.log.Debug("producer id assigned", slog.String("transactional_id", m.id), slog.Int64("producer_id", id), slog.Int("epoch", int(epoch)))
}

// trouble decides after a control request that failed. pause is how long to wait
// before it is repeated, 0 for the usual backoff.
func (m *transactions) trouble(k *coordinator, what string, err error, pause time.Duration) remedy {
	err = fmt.Errorf("%s: %w", what, err)
	r := remedyOf(codeOf(err))
	if codeOf(err) == klamm.CodeNone {
		r = seek // no broker's word: the connection, or none that was reached
	}
	if r == die && m.timedOut() && (fenced(codeOf(err)) || codeOf(err) == klamm.CodeInvalidTxnState && m.implicit.Load()) {
		// Perhaps for the transaction's age: the abort tells. Brokers of version 2
		// take the end with the epoch before theirs for one that is repeated, and
		// have no commit to repeat. Until then it is none of those that are fatal.
		r, err = abort, fmt.Errorf("%w: it may have been aborted for its age: %v", klamm.ErrAbortable, err)
	}
	switch r {
	case seek, repeat:
		if r == seek {
			k.hangUp()
		}
		m.p.stuck.Store(&err)
		m.failures++
		if m.failures == 1 {
			m.p.log.Debug("transaction: trying again", slog.String("transactional_id", m.id), slog.Any("err", err))
		}
		if pause == 0 {
			pause = m.p.set.backoff.after(m.failures)
		}
		m.retryAt = m.p.now() + pause
	case abort:
		m.lose(err)
	case forgot:
		m.mu.Lock()
		m.forgotten = true
		m.mu.Unlock()
		m.lose(err)
	case die:
		m.fatal(err)
	}
	return r
}

// answered notes that a control request succeeded.
func (m *transactions) answered() {
	m.failures, m.retryAt = 0, 0
	m.p.stuck.Store(nil)
}

// fatal ends the producer, for an error that is no other's. A fencing names what
// was fenced.
func (m *transactions) fatal(err error) {
	if fenced(codeOf(err)) {
		err = &FencedError{Aged: m.timedOut(), Err: err}
	}
	if !errors.Is(err, klamm.ErrFatal) {
		err = fmt.Errorf("%w: %w", klamm.ErrFatal, err)
	}
	if s := m.p.identity.current(); s != nil {
		err = fmt.Errorf("transactional_id %q, producer id %d, epoch %d: %w", m.id, s.producerID, s.epoch, err)
	} else {
		err = fmt.Errorf("transactional_id %q: %w", m.id, err)
	}
	m.die(err)
	m.p.fail(err)
}
