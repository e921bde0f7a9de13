package produce

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
)

// The requests of a transaction. Each function makes one attempt, on the
// goroutine of the transactions.

func brokerError(code int16) error {
	if code == 0 {
		return nil
	}
	return &klamm.BrokerError{Code: klamm.Code(code)}
}

// initProducerID asks for a producer id, or for the next epoch of the one that
// there is (KIP-360).
func (m *transactions) initProducerID() {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &m.id, int32(m.timeout.Milliseconds())
	req.ProducerID, req.ProducerEpoch = -1, -1
	m.mu.Lock()
	forgotten := m.forgotten
	m.mu.Unlock()
	if s := m.p.identity.current(); s != nil && !forgotten {
		req.ProducerID, req.ProducerEpoch = s.producerID, s.epoch
	}
	resp, err := m.home.ask(req, initProducerVersion)
	if err == nil {
		err = brokerError(resp.(*kmsg.InitProducerIDResponse).ErrorCode)
	}
	if err != nil {
		m.noProducerID(err)
		return
	}
	r := resp.(*kmsg.InitProducerIDResponse)
	m.answered()
	m.adopt(r.ProducerID, r.ProducerEpoch)
	m.implicit.Store(m.home.implicit)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bump, m.late, m.forgotten = false, false, false
	m.state = idle
	close(m.initialized)
}

// noProducerID decides after InitProducerId failed. There is no transaction that
// could be aborted.
func (m *transactions) noProducerID(err error) {
	switch remedyOf(codeOf(err)) {
	case forgot:
		m.mu.Lock()
		m.forgotten = true
		m.mu.Unlock()
		m.retryAt = m.p.now() + m.p.set.backoff.after(1)
	case abort:
		m.fatal(fmt.Errorf("InitProducerId: %w", err))
	default:
		pause := time.Duration(0)
		if codeOf(err) == klamm.CodeConcurrentTransactions {
			// The transaction of the producer before is being aborted. That takes
			// moments, and a host that was killed waits for it.
			pause = min(concurrentPause<<min(m.failures, 4), m.p.set.backoff.after(1))
		}
		m.trouble(m.home, "InitProducerId", err, pause)
	}
}

// taken notes that a batch of the transaction goes out. In version 2 that is what
// begins the coordinator's transaction.
func (m *transactions) taken() {
	if m.took.Load() {
		return
	}
	if m.implicit.Load() {
		m.started()
	}
	m.took.Store(true)
}

// started notes that a request goes out that may begin the coordinator's
// transaction.
func (m *transactions) started() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.begun == unknown {
		m.begun = m.p.now()
	}
}

// unanswered notes what a request without an answer may have done.
func (m *transactions) unanswered(err error, added bool) {
	var none *unansweredError
	if !errors.As(err, &none) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.late = true
	m.maybe = m.maybe || added
}

// firstPause is the wait after CONCURRENT_TRANSACTIONS: the transaction before
// is being completed, which is quick.
func (m *transactions) firstPause(err error) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if codeOf(err) == klamm.CodeConcurrentTransactions && m.accepted == 0 {
		return concurrentPause
	}
	return 0
}

func (m *transactions) addPartitions() {
	m.mu.Lock()
	adding := append([]*partition(nil), m.fresh...)
	number := m.number
	m.mu.Unlock()
	s := m.p.identity.current()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = m.id, s.producerID, s.epoch
	topics := map[*topic]int{}
	for _, t := range adding {
		i, ok := topics[t.topic]
		if !ok {
			rt := kmsg.NewAddPartitionsToTxnRequestTopic()
			rt.Topic = t.topic.name
			i, topics[t.topic] = len(req.Topics), len(req.Topics)
			req.Topics = append(req.Topics, rt)
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, t.id)
	}
	m.started()
	resp, err := m.home.ask(req, addPartitionsVersion)
	if err == nil {
		err = partitionsRefusal(resp.(*kmsg.AddPartitionsToTxnResponse))
	}
	if err != nil {
		m.unanswered(err, true)
		m.trouble(m.home, "AddPartitionsToTxn", err, m.firstPause(err))
		return
	}
	m.answered()
	m.mu.Lock()
	m.accepted += len(adding)
	m.fresh = m.fresh[:copy(m.fresh, m.fresh[len(adding):])]
	m.mu.Unlock()
	for _, t := range adding {
		t.mu.Lock()
		t.txnAdded = number
		owner := t.owner
		t.mu.Unlock()
		if owner != nil {
			owner.kick()
		}
	}
}

// partitionsRefusal returns the gravest error: the coordinator adds all or none.
func partitionsRefusal(r *kmsg.AddPartitionsToTxnResponse) error {
	worst, gravest := error(nil), done
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			code := klamm.Code(p.ErrorCode)
			if code == klamm.CodeNone || code == klamm.CodeOperationNotAttempted && worst != nil {
				continue
			}
			if g := remedyOf(code); worst == nil || codeOf(worst) == klamm.CodeOperationNotAttempted || g > gravest {
				worst, gravest = fmt.Errorf("topic %q partition %d: %w", t.Topic, p.Partition, brokerError(p.ErrorCode)), g
			}
		}
	}
	return worst
}

// addOffsets adds a group to a transaction of version 1.
func (m *transactions) addOffsets(c *offsetsCall) {
	s := m.p.identity.current()
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = m.id, s.producerID, s.epoch, c.group.Group
	m.started()
	resp, err := m.home.ask(req, addOffsetsVersion)
	if err == nil {
		err = brokerError(resp.(*kmsg.AddOffsetsToTxnResponse).ErrorCode)
	}
	if err != nil {
		m.unanswered(err, true)
		m.trouble(m.home, fmt.Sprintf("AddOffsetsToTxn of group %q", c.group.Group), err, m.firstPause(err))
		return
	}
	m.answered()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accepted++
	m.groups[c.group.Group] = true
}

// commitOffsets asks the group's coordinator to commit with the transaction.
func (m *transactions) commitOffsets(c *offsetsCall) {
	s := m.p.identity.current()
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = m.id, s.producerID, s.epoch
	req.Group, req.Generation, req.MemberID = c.group.Group, c.group.Generation, c.group.Member
	if c.group.Instance != "" {
		req.InstanceID = &c.group.Instance
	}
	topics := map[string]int{}
	for tp, at := range c.offsets {
		i, ok := topics[tp.Topic]
		if !ok {
			rt := kmsg.NewTxnOffsetCommitRequestTopic()
			rt.Topic = tp.Topic
			i, topics[tp.Topic] = len(req.Topics), len(req.Topics)
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset = tp.Partition, at
		if note, ok := c.group.Notes[tp]; ok {
			rp.Metadata = &note
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
	}
	most, implicit := int16(commitOffsetsVersion), m.implicit.Load()
	if implicit {
		most = commitOffsetsImplicit
	}
	m.started()
	k := m.groupsAt[c.group.Group]
	if k == nil {
		k = &coordinator{p: m.p, group: true, key: c.group.Group}
		m.groupsAt[c.group.Group] = k
	}
	resp, err := k.ask(req, most)
	if err == nil {
		err = offsetsRefusal(resp.(*kmsg.TxnOffsetCommitResponse))
	}
	if err != nil {
		m.unanswered(err, implicit)
		m.trouble(k, fmt.Sprintf("TxnOffsetCommit of group %q", c.group.Group), err, m.firstPause(err))
		return
	}
	m.answered()
	m.mu.Lock()
	defer m.mu.Unlock()
	if implicit {
		m.accepted++
	}
	if len(m.offsets) > 0 && m.offsets[0] == c {
		m.offsets = m.offsets[1:]
		close(c.done)
	}
}

func offsetsRefusal(r *kmsg.TxnOffsetCommitResponse) error {
	worst, gravest := error(nil), done
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if g := remedyOf(klamm.Code(p.ErrorCode)); g > gravest {
				worst, gravest = fmt.Errorf("%s/%d: %w", t.Topic, p.Partition, brokerError(p.ErrorCode)), g
			}
		}
	}
	return worst
}

// endTransaction commits or aborts.
func (m *transactions) endTransaction(commit bool) {
	s := m.p.identity.current()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = m.id, s.producerID, s.epoch, commit
	most, how, what := int16(endVersion), aborting, "EndTxn (abort)"
	if m.implicit.Load() {
		most = endBumpingVersion
	}
	if commit {
		how, what = committing, "EndTxn (commit)"
	}
	resp, err := m.home.ask(req, most)
	if err == nil {
		err = brokerError(resp.(*kmsg.EndTxnResponse).ErrorCode)
	}
	if err != nil {
		m.notEnded(commit, what, err)
		return
	}
	m.answered()
	if r := resp.(*kmsg.EndTxnResponse); r.Version >= endBumpingVersion {
		m.adopt(r.ProducerID, r.ProducerEpoch)
		m.mu.Lock()
		m.bump, m.late = false, false
		m.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended(how)
}

// notEnded decides after EndTxn failed.
func (m *transactions) notEnded(commit bool, what string, err error) {
	m.mu.Lock()
	doubt := m.maybe || m.late
	m.mu.Unlock()
	m.unanswered(err, false)
	code := codeOf(err)
	if commit && m.commitAsked && remedyOf(code) >= abort {
		// The commit that got no answer may have been the one that counts.
		m.fatal(fmt.Errorf("%w: %s, after one without an answer: %w", klamm.ErrOutcomeUnknown, what, err))
		return
	}
	m.commitAsked = m.commitAsked || commit && code == klamm.CodeNone
	switch {
	case !commit && fenced(code) && m.timedOut():
		m.recover(err)
	case !commit && (remedyOf(code) == forgot || code == klamm.CodeInvalidTxnState && doubt):
		// There is no transaction that could be aborted.
		m.mu.Lock()
		defer m.mu.Unlock()
		m.forgotten = m.forgotten || remedyOf(code) == forgot
		m.bump = true
		m.ended(aborting)
	case commit && code == klamm.CodeUnknownServerError:
		m.fatal(fmt.Errorf("%w: %s: %w", klamm.ErrOutcomeUnknown, what, err))
	case !commit && remedyOf(code) == abort:
		m.fatal(fmt.Errorf("%s: %w", what, err))
	default:
		m.trouble(m.home, what, err, m.endPause(code))
	}
}

func (m *transactions) endPause(code klamm.Code) time.Duration {
	if code == klamm.CodeConcurrentTransactions {
		return concurrentPause
	}
	return 0
}

// timedOut reports whether the coordinator may have aborted the transaction
// because of its age, as far as our own clock tells.
func (m *transactions) timedOut() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.begun != unknown && m.p.now()-m.begun >= m.timeout
}

// recover goes on after the coordinator has aborted a transaction for its age.
// That gives the id a new epoch, as a producer does that takes it over, but by
// one alone: who takes over fences first and then gets an epoch of its own. The
// epoch that is found is the condition of InitProducerId, so that nobody who
// comes in between is fenced (as KIP-588 meant it).
func (m *transactions) recover(cause error) {
	s := m.p.identity.current()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{m.id}
	resp, err := m.home.ask(req, 0)
	if err != nil {
		if remedyOf(codeOf(err)) == die {
			err = cause
		}
		m.trouble(m.home, "DescribeTransactions", err, 0)
		return
	}
	for _, d := range resp.(*kmsg.DescribeTransactionsResponse).TransactionStates {
		if d.ProducerID == s.producerID && d.ProducerEpoch == s.epoch+1 && (d.State == "CompleteAbort" || d.State == "Empty") {
			m.answered()
			m.p.identity.now.Store(&stamp{d.ProducerID, d.ProducerEpoch})
			m.mu.Lock()
			defer m.mu.Unlock()
			m.bump = true
			m.ended(aborting)
			return
		}
		if err := brokerError(d.ErrorCode); err != nil && remedyOf(klamm.Code(d.ErrorCode)) <= seek {
			m.trouble(m.home, "DescribeTransactions", err, 0)
			return
		}
	}
	m.fatal(fmt.Errorf("EndTxn (abort): %w", cause))
}
