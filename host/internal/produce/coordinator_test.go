package produce

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
)

// modelCoordinator coordinates transactions and groups by the rules of Kafka's
// brokers. It is guarded by fakeNetwork.mu.
type modelCoordinator struct {
	n        *fakeNetwork
	txns     map[string]*modelTxn
	commits  map[string]int64 // group/partition -> offset
	version2 bool
	// generation of every group; -1 accepts any.
	generation int32
	now        func() time.Time
	latency    time.Duration

	// fault decides about a request before it is looked at, without the lock.
	fault func(req kmsg.Request) controlFault
	// note hears of every request and its code, without the lock.
	note func(req kmsg.Request, code klamm.Code, lost bool)
	// wrong notes a mistake of the client, such as a batch for a partition that is
	// not in the transaction.
	wrong func(string)
}

// controlFault is what happens to a control request.
type controlFault struct {
	code  klamm.Code // answered in its place
	apply bool       // it is carried out all the same
	lost  bool       // no answer
	late  time.Duration
}

// modelTxn is one transactional id.
type modelTxn struct {
	producerID int64
	epoch      int16
	previous   int16 // before the last bump, -1 if that was no bump by request
	timeout    time.Duration
	state      string // of DescribeTransactions
	began      time.Time
	parts      map[int32]bool
	groups     map[string]bool
	offsets    map[string]int64
}

func newModelCoordinator(n *fakeNetwork) *modelCoordinator {
	c := &modelCoordinator{n: n, txns: map[string]*modelTxn{}, commits: map[string]int64{}, generation: -1, now: time.Now}
	c.fault = func(kmsg.Request) controlFault { return controlFault{} }
	c.note = func(kmsg.Request, klamm.Code, bool) {}
	c.wrong = func(what string) { n.t.Error(what) }
	n.txns = c
	return c
}

func (n *fakeNetwork) coordinator(context.Context, bool, string) (int32, error) { return 1, nil }

func (n *fakeNetwork) dialControl(context.Context, int32) (control, error) {
	return &fakeControl{c: n.txns}, nil
}

// fakeControl is a connection to the coordinator.
type fakeControl struct {
	c      *modelCoordinator
	broken bool
}

func (f *fakeControl) Close() error { f.broken = true; return nil }

func (f *fakeControl) Version(key int16) (int16, int16, bool) { return 0, 100, true }

var errConnectionReset = errors.New("connection reset")

func (f *fakeControl) Request(ctx context.Context, req kmsg.Request, most int16) (kmsg.Response, error) {
	if f.broken {
		return nil, errors.New("used after an error")
	}
	req.SetVersion(most)
	if _, ok := req.(*kmsg.ApiVersionsRequest); ok {
		return f.c.apiVersions(), nil
	}
	fault := f.c.fault(req)
	if f.c.latency > 0 {
		time.Sleep(f.c.latency)
	}
	if ctx.Err() != nil {
		f.broken = true
		return nil, context.Cause(ctx)
	}
	if fault.late > 0 {
		time.AfterFunc(fault.late, func() { f.c.handle(req) })
		fault.lost = true
	} else if fault.apply || fault.code == klamm.CodeNone && !fault.lost {
		resp := f.c.handle(req)
		if fault.code == klamm.CodeNone && !fault.lost {
			f.c.note(req, controlCode(resp), false)
			return resp, nil
		}
	}
	f.c.note(req, fault.code, fault.lost)
	if fault.lost {
		f.broken = true
		return nil, errConnectionReset
	}
	return refusedControl(req, fault.code), nil
}

func (c *modelCoordinator) apiVersions() kmsg.Response {
	resp := kmsg.NewPtrApiVersionsResponse()
	if c.version2 {
		f := kmsg.NewApiVersionsResponseFinalizedFeature()
		f.Name, f.MaxVersionLevel = "transaction.version", 2
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, f)
	}
	return resp
}

func (c *modelCoordinator) handle(req kmsg.Request) kmsg.Response {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	for _, t := range c.txns {
		c.expire(t)
	}
	switch r := req.(type) {
	case *kmsg.InitProducerIDRequest:
		resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
		id, epoch, code := c.init(r)
		resp.ProducerID, resp.ProducerEpoch, resp.ErrorCode = id, epoch, int16(code)
		return resp
	case *kmsg.AddPartitionsToTxnRequest:
		t, code := c.known(r.TransactionalID, r.ProducerID, r.ProducerEpoch)
		if code == klamm.CodeNone {
			c.begin(t)
			for _, rt := range r.Topics {
				for _, p := range rt.Partitions {
					t.parts[p] = true
				}
			}
		}
		return refusedControl(req, code)
	case *kmsg.AddOffsetsToTxnRequest:
		t, code := c.known(r.TransactionalID, r.ProducerID, r.ProducerEpoch)
		if code == klamm.CodeNone {
			c.begin(t)
			t.groups[r.Group] = true
		}
		return refusedControl(req, code)
	case *kmsg.TxnOffsetCommitRequest:
		return refusedControl(req, c.commitOffsets(r))
	case *kmsg.EndTxnRequest:
		resp := r.ResponseKind().(*kmsg.EndTxnResponse)
		t, code := c.end(r)
		resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = int16(code), -1, -1
		if code == klamm.CodeNone && r.Version >= 5 {
			resp.ProducerID, resp.ProducerEpoch = t.producerID, t.epoch
		}
		return resp
	case *kmsg.DescribeTransactionsRequest:
		resp := r.ResponseKind().(*kmsg.DescribeTransactionsResponse)
		for _, id := range r.TransactionalIDs {
			d := kmsg.NewDescribeTransactionsResponseTransactionState()
			if t := c.txns[id]; t != nil {
				d.TransactionalID, d.State, d.ProducerID, d.ProducerEpoch = id, t.state, t.producerID, t.epoch
			}
			resp.TransactionStates = append(resp.TransactionStates, d)
		}
		return resp
	}
	panic(fmt.Sprintf("unexpected request %T", req))
}

// init is InitProducerId: TransactionCoordinator.handleInitProducerId.
func (c *modelCoordinator) init(r *kmsg.InitProducerIDRequest) (int64, int16, klamm.Code) {
	t := c.txns[*r.TransactionalID]
	if t == nil {
		t = &modelTxn{producerID: c.n.nextPID, epoch: c.n.firstEpoch - 1, state: "Empty", timeout: time.Duration(r.TransactionTimeoutMillis) * time.Millisecond}
		c.n.nextPID++
		c.txns[*r.TransactionalID] = t
	}
	expects := r.ProducerID >= 0
	if expects && r.ProducerID != t.producerID {
		return -1, -1, klamm.CodeInvalidProducerIdMapping
	}
	if t.state == "Ongoing" {
		if expects && r.ProducerEpoch != t.epoch {
			return -1, -1, klamm.CodeProducerFenced
		}
		t.epoch++ // the markers fence
		t.previous = -1
		c.mark(t, false)
		return -1, -1, klamm.CodeConcurrentTransactions
	}
	if expects && t.previous >= 0 && r.ProducerEpoch == t.previous {
		return t.producerID, t.epoch, klamm.CodeNone // repeated
	}
	if expects && r.ProducerEpoch != t.epoch {
		return -1, -1, klamm.CodeProducerFenced
	}
	c.bump(t)
	t.state = "Empty"
	return t.producerID, t.epoch, klamm.CodeNone
}

// bump gives the next epoch, or the next producer id when they are used up.
func (c *modelCoordinator) bump(t *modelTxn) {
	if t.epoch >= 32766 {
		t.producerID, t.epoch, t.previous = c.n.nextPID, 0, -1
		c.n.nextPID++
		return
	}
	t.previous = t.epoch
	t.epoch++
}

func (c *modelCoordinator) known(id string, pid int64, epoch int16) (*modelTxn, klamm.Code) {
	t := c.txns[id]
	switch {
	case t == nil || t.producerID != pid:
		return nil, klamm.CodeInvalidProducerIdMapping
	case t.epoch != epoch:
		return nil, klamm.CodeProducerFenced
	}
	return t, klamm.CodeNone
}

func (c *modelCoordinator) begin(t *modelTxn) {
	if t.state == "Ongoing" {
		return
	}
	t.state, t.began = "Ongoing", c.now()
	t.parts, t.groups, t.offsets = map[int32]bool{}, map[string]bool{}, map[string]int64{}
}

func (c *modelCoordinator) commitOffsets(r *kmsg.TxnOffsetCommitRequest) klamm.Code {
	t, code := c.known(r.TransactionalID, r.ProducerID, r.ProducerEpoch)
	switch {
	case code != klamm.CodeNone:
		return code
	case c.generation >= 0 && r.Generation != c.generation:
		return klamm.CodeIllegalGeneration
	case r.Version >= 5:
		c.begin(t)
		t.groups[r.Group] = true
	case t.state != "Ongoing" || !t.groups[r.Group]:
		return klamm.CodeInvalidTxnState
	}
	for _, rt := range r.Topics {
		for _, p := range rt.Partitions {
			t.offsets[fmt.Sprintf("%s/%d", r.Group, p.Partition)] = p.Offset
		}
	}
	return klamm.CodeNone
}

func (c *modelCoordinator) end(r *kmsg.EndTxnRequest) (*modelTxn, klamm.Code) {
	t := c.txns[r.TransactionalID]
	if t == nil || t.producerID != r.ProducerID {
		return nil, klamm.CodeInvalidProducerIdMapping
	}
	wanted := map[bool]string{true: "CompleteCommit", false: "CompleteAbort"}[r.Commit]
	if r.Version >= 5 && t.epoch == r.ProducerEpoch+1 && t.previous == r.ProducerEpoch && t.state != "Ongoing" {
		if t.state != wanted {
			return nil, klamm.CodeInvalidTxnState
		}
		return t, klamm.CodeNone // repeated
	}
	switch {
	case t.epoch != r.ProducerEpoch:
		return nil, klamm.CodeProducerFenced
	case t.state != "Ongoing" && r.Version >= 5 && !r.Commit:
	case t.state != "Ongoing" && t.state == wanted:
		return t, klamm.CodeNone
	case t.state != "Ongoing":
		return nil, klamm.CodeInvalidTxnState
	}
	if r.Version >= 5 {
		old, pid := t.epoch, t.producerID
		c.mark(t, r.Commit)
		for p := range t.parts { // markers carry the new epoch (KIP-890)
			c.n.logs[p].mark(pid, old+1, r.Commit)
		}
		c.bump(t)
		return t, klamm.CodeNone
	}
	c.mark(t, r.Commit)
	return t, klamm.CodeNone
}

// mark writes the markers and ends the transaction.
func (c *modelCoordinator) mark(t *modelTxn, commit bool) {
	for p := range t.parts {
		c.n.logs[p].mark(t.producerID, t.epoch, commit)
	}
	if commit {
		maps.Copy(c.commits, t.offsets)
	}
	t.state = map[bool]string{true: "CompleteCommit", false: "CompleteAbort"}[commit]
}

// expire aborts a transaction that has been open for too long, and fences its
// producer.
func (c *modelCoordinator) expire(t *modelTxn) {
	if t.state == "Ongoing" && c.now().Sub(t.began) >= t.timeout {
		t.epoch++
		t.previous = -1
		c.mark(t, false)
	}
}

// admit is the broker's question whether a batch belongs to a transaction
// (KIP-890).
func (c *modelCoordinator) admit(b *modelBatch) klamm.Code {
	for _, t := range c.txns {
		c.expire(t)
		if t.producerID != b.header.ProducerID {
			continue
		}
		switch {
		case t.epoch != b.header.ProducerEpoch:
			return klamm.CodeInvalidProducerEpoch
		case t.state == "Ongoing" && t.parts[b.partition]:
			return klamm.CodeNone
		case b.implicit:
			c.begin(t)
			t.parts[b.partition] = true
			return klamm.CodeNone
		}
		return klamm.CodeInvalidTxnState
	}
	return klamm.CodeInvalidProducerEpoch
}

// refusedControl is an answer with one code everywhere.
func refusedControl(req kmsg.Request, code klamm.Code) kmsg.Response {
	switch r := req.(type) {
	case *kmsg.InitProducerIDRequest:
		resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = int16(code), -1, -1
		return resp
	case *kmsg.AddPartitionsToTxnRequest:
		resp := r.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
		for _, rt := range r.Topics {
			t := kmsg.NewAddPartitionsToTxnResponseTopic()
			t.Topic = rt.Topic
			for _, p := range rt.Partitions {
				rp := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p, int16(code)
				t.Partitions = append(t.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, t)
		}
		return resp
	case *kmsg.AddOffsetsToTxnRequest:
		resp := r.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
		resp.ErrorCode = int16(code)
		return resp
	case *kmsg.TxnOffsetCommitRequest:
		resp := r.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
		for _, rt := range r.Topics {
			t := kmsg.NewTxnOffsetCommitResponseTopic()
			t.Topic = rt.Topic
			for _, p := range rt.Partitions {
				rp := kmsg.NewTxnOffsetCommitResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, int16(code)
				t.Partitions = append(t.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, t)
		}
		return resp
	case *kmsg.EndTxnRequest:
		resp := r.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = int16(code), -1, -1
		return resp
	case *kmsg.DescribeTransactionsRequest:
		resp := r.ResponseKind().(*kmsg.DescribeTransactionsResponse)
		d := kmsg.NewDescribeTransactionsResponseTransactionState()
		d.ErrorCode = int16(code)
		resp.TransactionStates = append(resp.TransactionStates, d)
		return resp
	}
	panic(fmt.Sprintf("unexpected request %T", req))
}

func controlCode(resp kmsg.Response) klamm.Code {
	switch r := resp.(type) {
	case *kmsg.InitProducerIDResponse:
		return klamm.Code(r.ErrorCode)
	case *kmsg.AddPartitionsToTxnResponse:
		return codeOf(partitionsRefusal(r))
	case *kmsg.AddOffsetsToTxnResponse:
		return klamm.Code(r.ErrorCode)
	case *kmsg.TxnOffsetCommitResponse:
		return codeOf(offsetsRefusal(r))
	case *kmsg.EndTxnResponse:
		return klamm.Code(r.ErrorCode)
	}
	return klamm.CodeNone
}

// controlText is a control request in a line of a script.
func controlText(req kmsg.Request) string {
	switch r := req.(type) {
	case *kmsg.InitProducerIDRequest:
		return fmt.Sprintf("InitProducerId pid=%d epoch=%d", r.ProducerID, r.ProducerEpoch)
	case *kmsg.AddPartitionsToTxnRequest:
		var parts []string
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				parts = append(parts, fmt.Sprintf("p%d", p))
			}
		}
		slices.Sort(parts)
		return fmt.Sprintf("AddPartitionsToTxn epoch=%d %s", r.ProducerEpoch, strings.Join(parts, " "))
	case *kmsg.AddOffsetsToTxnRequest:
		return fmt.Sprintf("AddOffsetsToTxn epoch=%d group=%s", r.ProducerEpoch, r.Group)
	case *kmsg.TxnOffsetCommitRequest:
		text := fmt.Sprintf("TxnOffsetCommit v%d epoch=%d group=%s generation=%d member=%s", r.Version, r.ProducerEpoch, r.Group, r.Generation, r.MemberID)
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				text += fmt.Sprintf(" %s/%d@%d", t.Topic, p.Partition, p.Offset)
			}
		}
		return text
	case *kmsg.EndTxnRequest:
		return fmt.Sprintf("EndTxn v%d epoch=%d %s", r.Version, r.ProducerEpoch, map[bool]string{true: "commit", false: "abort"}[r.Commit])
	case *kmsg.DescribeTransactionsRequest:
		return "DescribeTransactions"
	}
	return fmt.Sprintf("%T", req)
}
