package produce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
)

// Transactions (KIP-98, KIP-360, KIP-447, KIP-890). The caller's goroutines ask
// for a change of state here; the goroutine of control.go asks the coordinators
// and makes it.

// txnState is where a transactional producer stands.
type txnState uint8

const (
	uninitialized txnState = iota
	initializing           // asks for a producer id, or for a new epoch
	idle                   // no transaction is open
	inTransaction
	committing
	aborting
	lost   // the transaction can only be aborted
	failed // for good
)

var txnStateNames = [...]string{"not initialized", "initializing", "ready for a transaction", "in a transaction", "committing", "aborting", "in a transaction that must be aborted", "failed"}

func (s txnState) String() string { return txnStateNames[s] }

// GroupMetadata says as which member of a consumer group offsets are committed.
// Its coordinator refuses those of a member that has been replaced (KIP-447).
type GroupMetadata struct {
	Group      string
	Generation int32  // -1: none
	Member     string // "": none
	Instance   string // group.instance.id; "": none
	// Notes are kept with the offsets of partitions, as their metadata in Kafka, of
	// at most offset.metadata.max.bytes each. Default: none.
	Notes map[klamm.TopicPartition]string
}

// transactions is the transactional side of a pipeline.
//
// mu comes after partition.mu in the lock order, and nothing comes after it.
type transactions struct {
	p       *Pipeline
	id      string
	timeout time.Duration
	wake    chan struct{} // holds one

	// open is the number of the transaction that takes records, 0 while none
	// does.
	open atomic.Uint32
	// implicit: version 2, brokers add partitions and groups by themselves.
	implicit atomic.Bool
	// took: a batch of the transaction has been taken for a request.
	took atomic.Bool

	mu     sync.Mutex
	state  txnState
	err    error  // why it is lost or failed
	number uint32 // of the last transaction
	call   *txnCall
	// initialized is closed when the state is not initializing any more.
	initialized chan struct{}
	fresh       []*partition // wait to be added
	// begun is when the transaction's first request went out, unknown
	// before.
	begun time.Duration
	// accepted counts partitions and groups that the coordinator has added; maybe
	// tells that there may be more, for a request got no answer.
	accepted int
	maybe    bool
	groups   map[string]bool // added
	offsets  []*offsetsCall
	// late: a request that got no answer may still arrive, and must not find the
	// epoch that it was made for (KAFKA-17754).
	late bool
	// bump: sequences have a hole, which only a new epoch mends.
	bump bool
	// forgotten: the coordinator does not know the producer id any more.
	forgotten bool

	// The rest belongs to the goroutine.
	home     *coordinator
	groupsAt map[string]*coordinator
	// commitAsked: an EndTxn that commits the transaction got no answer.
	commitAsked bool
	retryAt     time.Duration
	failures    int
	hurry       func() // ends the flush of a commit
}

// txnCall is a commit or an abort until its result has been given to a caller.
type txnCall struct {
	what txnState // that it leads through
	done chan struct{}
	err  error
}

// offsetsCall is one SendOffsets.
type offsetsCall struct {
	group   GroupMetadata
	offsets map[klamm.TopicPartition]int64
	done    chan struct{}
	err     error
}

func newTransactions(p *Pipeline) *transactions {
	return &transactions{
		p: p, id: p.set.transactionalID, timeout: p.set.txnTimeout, wake: make(chan struct{}, 1), begun: unknown,
		home:     &coordinator{p: p, key: p.set.transactionalID},
		groupsAt: map[string]*coordinator{},
	}
}

func (m *transactions) kick() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

var errNoTransactions = fmt.Errorf("the producer has no transactional_id: %w", klamm.ErrTransactionState)

// InitTransactions asks for the producer id of the transactional id. That fences
// an earlier producer of the same id and ends its open transaction.
//
// When ctx ends first, the request goes on, and the same call waits for it.
func (p *Pipeline) InitTransactions(ctx context.Context) error {
	if p.txn == nil {
		return errNoTransactions
	}
	return p.txn.init(ctx)
}

func (m *transactions) init(ctx context.Context) error {
	m.mu.Lock()
	if m.state == uninitialized {
		m.initialize()
	}
	switch m.state {
	case initializing:
	case idle:
		m.mu.Unlock()
		return nil
	default:
		defer m.mu.Unlock()
		return m.refuse("initialize transactions")
	}
	initialized := m.initialized
	m.mu.Unlock()
	m.kick()
	select {
	case <-initialized:
	case <-ctx.Done():
		err := fmt.Errorf("initialize transactions of transactional_id %q: it goes on, repeat the call to wait for it: %w", m.id, ended(ctx))
		if stuck := m.p.stuck.Load(); stuck != nil {
			err = fmt.Errorf("%w; last: %w", err, *stuck)
		}
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == failed {
		return m.err
	}
	return nil
}

// RenewTransactions asks for a new epoch, with the one that the pipeline has: one
// that has been fenced finds it out now, where InitTransactions of a new pipeline
// would fence in its turn. No transaction is open.
func (p *Pipeline) RenewTransactions(ctx context.Context) error {
	if p.txn == nil {
		return errNoTransactions
	}
	m := p.txn
	m.mu.Lock()
	if m.state == idle && m.call == nil {
		m.initialize()
	}
	m.mu.Unlock()
	return m.init(ctx)
}

// initialize has the goroutine ask for a producer id or a new epoch. m.mu is
// held.
func (m *transactions) initialize() {
	m.state, m.initialized = initializing, make(chan struct{})
}

// BeginTransaction begins a transaction and returns its number. It waits, where
// need be, for InitTransactions or for a new epoch.
func (p *Pipeline) BeginTransaction(ctx context.Context) (uint32, error) {
	if p.txn == nil {
		return 0, errNoTransactions
	}
	if p.closing.Load() {
		return 0, fmt.Errorf("begin a transaction: %w", klamm.ErrClosed)
	}
	return p.txn.begin(ctx)
}

func (m *transactions) begin(ctx context.Context) (uint32, error) {
	for {
		m.mu.Lock()
		switch {
		case m.state == idle && m.call == nil:
			defer m.mu.Unlock()
			m.enter()
			return m.number, nil
		case m.call != nil, m.state != uninitialized && m.state != initializing:
			defer m.mu.Unlock()
			return 0, m.refuse("begin a transaction")
		}
		m.mu.Unlock()
		if err := m.init(ctx); err != nil {
			return 0, err
		}
	}
}

// enter begins a transaction. m.mu is held.
func (m *transactions) enter() {
	m.state, m.err = inTransaction, nil
	if m.number++; m.number > math.MaxUint16 { // 16 bits are kept of it
		m.number = 1
	}
	m.fresh, m.offsets = m.fresh[:0], nil
	m.begun, m.accepted, m.maybe, m.groups = unknown, 0, false, map[string]bool{}
	m.took.Store(false)
	m.open.Store(m.number)
}

// SendOffsets has offsets committed with the transaction. When ctx ends first,
// the request goes on and is part of the transaction.
func (p *Pipeline) SendOffsets(ctx context.Context, offsets map[klamm.TopicPartition]int64, group GroupMetadata) error {
	if p.txn == nil {
		return errNoTransactions
	}
	return p.txn.sendOffsets(ctx, offsets, group)
}

func (m *transactions) sendOffsets(ctx context.Context, offsets map[klamm.TopicPartition]int64, group GroupMetadata) error {
	m.mu.Lock()
	if m.state != inTransaction {
		defer m.mu.Unlock()
		return m.refuse("send offsets")
	}
	if len(offsets) == 0 {
		m.mu.Unlock()
		return nil
	}
	c := &offsetsCall{group: group, offsets: offsets, done: make(chan struct{})}
	m.offsets = append(m.offsets, c)
	m.mu.Unlock()
	m.kick()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return fmt.Errorf("send offsets of group %q in a transaction: not answered yet: %w", group.Group, ended(ctx))
	}
}

// CommitTransaction commits when all batches are acknowledged. An error that is
// klamm.ErrAbortable leaves the transaction to be aborted. When ctx ends first,
// the commit goes on: only the same call is allowed then, and waits for it.
func (p *Pipeline) CommitTransaction(ctx context.Context) error {
	if p.txn == nil {
		return errNoTransactions
	}
	return p.txn.end(ctx, committing, "commit the transaction")
}

// AbortTransaction fails what was not sent, waits for what was, and ends the
// transaction. When ctx ends first, only the same call is allowed then.
func (p *Pipeline) AbortTransaction(ctx context.Context) error {
	if p.txn == nil {
		return errNoTransactions
	}
	return p.txn.end(ctx, aborting, "abort the transaction")
}

func (m *transactions) end(ctx context.Context, how txnState, what string) error {
	m.mu.Lock()
	c := m.call
	switch {
	case c != nil && c.what == how: // go on waiting
	case m.state == failed:
		defer m.mu.Unlock()
		return m.err
	case c != nil && m.state != lost:
		defer m.mu.Unlock()
		return m.refuse(what)
	case m.state == inTransaction, m.state == lost && how == aborting:
		c = newCall(how)
		m.state, m.call = how, c
		m.open.Store(0)
	case m.state == lost:
		defer m.mu.Unlock()
		return m.err
	default:
		defer m.mu.Unlock()
		return m.refuse(what)
	}
	m.mu.Unlock()
	m.kick()
	return m.await(ctx, c, what)
}

// Abandon makes that transaction, if it is the open one, one that can only be
// aborted, for a reason that the pipeline does not know of.
func (p *Pipeline) Abandon(txn uint32, why error) {
	m := p.txn
	m.mu.Lock()
	if m.number == txn && (m.state == inTransaction || m.state == committing) {
		m.loseLocked(why)
	}
	m.mu.Unlock()
	m.kick()
}

// refuse is the answer to a call out of order. m.mu is held.
func (m *transactions) refuse(what string) error {
	if m.state == failed || m.state == lost && what != "begin a transaction" {
		return m.err
	}
	more := ""
	if m.call != nil {
		more = fmt.Sprintf(", and the result of the call before it (%s) was not waited for: repeat that call", m.call.what)
	}
	return fmt.Errorf("%s: the producer is %s%s: %w", what, m.state, more, klamm.ErrTransactionState)
}

func newCall(what txnState) *txnCall { return &txnCall{what: what, done: make(chan struct{})} }

// await waits for a call's end. The first who sees it takes the result away.
func (m *transactions) await(ctx context.Context, c *txnCall, what string) error {
	select {
	case <-c.done:
	default:
		select {
		case <-c.done:
		case <-ctx.Done():
			return fmt.Errorf("%s: it goes on, repeat the call to wait for it: %w", what, ended(ctx))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.call == c {
		m.call = nil
	}
	return c.err
}

// ended is ctx's error as one of ours: a limit of time is klamm.ErrTimeout.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) && !errors.Is(cause, klamm.ErrTimeout) {
		return fmt.Errorf("%w: %w", klamm.ErrTimeout, cause)
	}
	return cause
}

// finish ends the call that waits, if it is of that kind. m.mu is held.
func (m *transactions) finish(what txnState, err error) {
	if c := m.call; c != nil && c.what == what {
		select {
		case <-c.done:
		default:
			c.err = err
			close(c.done)
		}
	}
}

// lose makes the transaction one that must be aborted. During an abort, and
// outside of transactions, it changes nothing.
func (m *transactions) lose(why error) {
	m.mu.Lock()
	if m.state == inTransaction || m.state == committing {
		m.loseLocked(why)
	}
	m.mu.Unlock()
	m.kick()
}

func (m *transactions) loseLocked(why error) {
	m.err = why
	if !errors.Is(why, klamm.ErrAbortable) {
		m.err = fmt.Errorf("%w: %w", klamm.ErrAbortable, why)
	}
	m.p.log.Warn("the transaction must be aborted", slog.String("transactional_id", m.id), slog.Any("err", why))
	was := m.state
	m.state = lost
	m.open.Store(0)
	m.failOffsets(m.err)
	if was == committing {
		m.finish(committing, m.err)
	}
}

// failOffsets ends the calls of SendOffsets that wait. m.mu is held.
func (m *transactions) failOffsets(err error) {
	for _, c := range m.offsets {
		c.err = err
		close(c.done)
	}
	m.offsets = nil
}

// batchFailed is called for every batch that ends with an error, before its
// completion is.
func (m *transactions) batchFailed(b *batch, err error) {
	m.mu.Lock()
	// A sequence that was given out and is not in the log is a hole.
	m.bump = m.bump || b.stamp != nil
	m.mu.Unlock()
	m.lose(err)
}

// renewed notes that a partition has begun anew and knows no sequences.
func (m *transactions) renewed(t *partition) {
	m.mu.Lock()
	m.bump = true
	m.mu.Unlock()
	m.lose(fmt.Errorf("topic %q was deleted and made anew", t.topic.name))
}

// die ends the producer.
func (m *transactions) die(err error) {
	if !errors.Is(err, klamm.ErrFatal) && !errors.Is(err, klamm.ErrClosed) {
		err = fmt.Errorf("%w: %w", klamm.ErrFatal, err)
	}
	m.mu.Lock()
	if m.state == failed {
		m.mu.Unlock()
		return
	}
	if m.state == initializing {
		close(m.initialized)
	}
	m.state, m.err = failed, err
	m.open.Store(0)
	m.failOffsets(err)
	if m.call != nil {
		m.finish(m.call.what, err)
	}
	m.mu.Unlock()
	m.kick()
}

// admit refuses a record that does not belong to the open transaction. t.mu is
// held, so that whoever ends a transaction and then takes the lock of every
// partition finds all of its records.
func (m *transactions) admit(number uint32) error {
	open := m.open.Load()
	if open != 0 && open == number {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.state == failed:
		return m.err
	case number == 0:
		return fmt.Errorf("send: the producer is %s: %w", m.state, klamm.ErrTransactionState)
	case m.number == number && m.err != nil:
		return fmt.Errorf("%w: %w", klamm.ErrTransactionAborted, m.err)
	}
	return klamm.ErrTransactionAborted
}

// appended notes that t, whose lock is held, has a record of the transaction.
func (m *transactions) appended(t *partition, number uint32) {
	t.txnIn = number
	if m.implicit.Load() {
		return
	}
	m.mu.Lock()
	if m.number == number {
		m.fresh = append(m.fresh, t)
	}
	m.mu.Unlock()
	m.kick()
}

// mayDrain reports whether t's batches may be sent: its partition belongs to the
// transaction by now. t.mu is held.
func (m *transactions) mayDrain(t *partition) bool {
	return m.implicit.Load() || t.txnAdded == t.txnIn
}

// close aborts an open transaction, and waits for a commit or an abort that is
// under way.
func (m *transactions) close(ctx context.Context) error {
	m.mu.Lock()
	state := m.state
	m.mu.Unlock()
	var err error
	switch state {
	case committing:
		err = m.end(ctx, committing, "close: commit the transaction")
	case inTransaction, lost, aborting:
		err = m.end(ctx, aborting, "close: abort the transaction")
	}
	if state == committing && errors.Is(err, klamm.ErrAbortable) {
		err = m.end(ctx, aborting, "close: abort the transaction")
	}
	return err
}
