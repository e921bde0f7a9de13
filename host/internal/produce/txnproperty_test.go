package produce

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

// txnFate is what the caller was told of a transaction.
type txnFate struct {
	refs    map[int32][]uint64
	offsets map[string]int64
	end     string // committed, aborted or unknown
}

// TestTransactionsUnderFaults plays random schedules of transactions: whatever
// brokers, coordinators and network do, a reader of committed records sees those
// of the committed transactions once and in order, none of the aborted ones, and
// no part of any.
func TestTransactionsUnderFaults(t *testing.T) {
	list := make([]uint64, *seeds)
	for i := range list {
		list[i] = uint64(i) + 1
	}
	if *onlySeed > 0 {
		list = []uint64{*onlySeed}
	}
	ends := map[string]int{}
	for _, seed := range list {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newTxnChaos(t, seed)
				x.play()
				x.check()
				for _, f := range x.fates {
					ends[f.end]++
				}
				ends["recovered"] += x.recovered
				ends["restarted"] += x.restarted
				if t.Failed() {
					t.Log(x.story.String())
				}
			})
		})
	}
	t.Logf("%d schedules: %v", len(list), ends)
	if *onlySeed == 0 && (ends["committed"] == 0 || ends["aborted"] == 0 || ends["unknown"] == 0 || ends["restarted"] == 0 || ends["recovered"] == 0) {
		t.Error("the schedules do not reach every end any more")
	}
}

type txnChaos struct {
	*chaos
	conf      *config.Producer
	coord     *modelCoordinator
	p         *Pipeline
	h         *history
	parts     int
	next      uint64
	fates     []*txnFate
	recovered int
	restarted int
}

func newTxnChaos(t *testing.T, seed uint64) *txnChaos {
	c := &chaos{t: t, rng: rand.New(rand.NewPCG(seed, 1)), lied: map[string]bool{}, sent: map[string][]byte{}, open: map[*fakeConn]int{}, late: true}
	x := &txnChaos{chaos: c, parts: 1 + c.pick(4), h: newHistory()}
	c.net = newFakeNetwork(t, x.parts)
	c.net.serve = c.serve
	c.net.maxVersion = implicitVersion
	if c.pick(4) == 0 {
		c.net.firstEpoch = 32750
	}
	c.fault = 4 + c.pick(40)
	c.deny = c.pick(2) == 0
	x.coord = newModelCoordinator(c.net)
	x.coord.version2 = c.pick(2) == 0
	x.coord.latency = time.Millisecond
	x.coord.fault = x.controlFault
	x.coord.note = func(req kmsg.Request, code klamm.Code, lost bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		fmt.Fprintf(&c.story, "%s %s: %s lost=%t\n", time.Now().Format("05.000"), controlText(req), code.Name(), lost)
		if _, ok := req.(*kmsg.DescribeTransactionsRequest); ok {
			x.recovered++
		}
	}
	x.conf = testConfig(func(cfg *config.Producer) {
		cfg.TransactionalID = "id"
		cfg.TransactionTimeout = config.Duration(time.Duration(5+c.pick(60)) * time.Second)
		cfg.Linger = config.Duration(time.Duration(c.pick(10)) * time.Millisecond)
		cfg.BatchSize = config.Size(80 + c.pick(400))
		cfg.MaxInFlight = 1 + c.pick(5)
		cfg.RequestTimeout = config.Duration(2 * time.Second)
		cfg.DeliveryTimeout = config.Duration(time.Duration(3+c.pick(20)) * time.Second)
	})
	c.limit = x.conf.MaxInFlight
	return x
}

var controlRefusals = []klamm.Code{
	klamm.CodeNotCoordinator, klamm.CodeCoordinatorNotAvailable, klamm.CodeCoordinatorLoadInProgress, klamm.CodeConcurrentTransactions,
	klamm.CodeConcurrentTransactions, klamm.CodeTransactionAbortable, klamm.CodeUnknownServerError,
}

// controlFault makes coordinators refuse, and lose requests and answers.
func (x *txnChaos) controlFault(req kmsg.Request) controlFault {
	if !x.chance(x.fault) {
		return controlFault{}
	}
	switch x.pick(4) {
	case 0:
		return controlFault{lost: true}
	case 1:
		return controlFault{lost: true, apply: true}
	case 2:
		return controlFault{late: time.Duration(x.pick(4000)) * time.Millisecond}
	}
	code := controlRefusals[x.pick(len(controlRefusals))]
	if _, ok := req.(*kmsg.InitProducerIDRequest); ok && remedyOf(code) == abort {
		code = klamm.CodeNotCoordinator
	}
	return controlFault{code: code}
}

func (x *txnChaos) play() {
	x.start()
	for range 20 {
		x.transaction()
		if x.pick(6) == 0 {
			x.net.move(int32(x.pick(x.parts)), int32(x.pick(3)))
		}
	}
	x.mu.Lock()
	x.calm = true
	x.mu.Unlock()
	for part := range x.parts {
		x.net.move(int32(part), int32(1+part%2))
	}
	time.Sleep(15 * time.Second) // the last late request has been carried out
	// A11: it works now, once what was wrong has been found out.
	for n := 0; ; n++ {
		if x.transaction() == "committed" {
			break
		}
		if n == 5 {
			x.t.Error("no transaction can be committed any more")
			break
		}
	}
	x.close()
	x.net.stop()
}

func (x *txnChaos) start() {
	var err error
	if x.p, err = newPipeline(x.conf, x.net, x.h.complete, nil); err != nil {
		x.t.Fatal(err)
	}
	x.p.pool.poison = true
}

func (x *txnChaos) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := x.p.Close(ctx); err != nil && !errors.Is(err, klamm.ErrFatal) {
		x.t.Error(err)
	}
	if free := x.p.mem.free.Load(); free != x.p.mem.total {
		x.t.Errorf("%d bytes of %d are free after Close", free, x.p.mem.total)
	}
}

// transaction plays one, and returns how it ended.
func (x *txnChaos) transaction() string {
	ctx := context.Background()
	f := &txnFate{refs: map[int32][]uint64{}, offsets: map[string]int64{}}
	number, err := x.p.BeginTransaction(ctx)
	if err != nil {
		return x.restart(f, err)
	}
	x.fates = append(x.fates, f)
	x.h.txn = number
	for range x.pick(15) {
		part := int32(x.pick(x.parts))
		ref := x.next
		x.next++
		if err := x.h.send(x.p, ref, part, 8+x.pick(60)); err == nil {
			f.refs[part] = append(f.refs[part], ref)
		}
		switch x.pick(10) {
		case 0:
			time.Sleep(time.Duration(x.pick(60)) * time.Millisecond)
		case 1:
			if x.chance(4) {
				time.Sleep(time.Duration(x.pick(3000)) * time.Millisecond)
			}
		}
	}
	if x.pick(2) == 0 {
		part := x.pick(3)
		at := int64(x.next)
		if x.p.SendOffsets(ctx, map[klamm.TopicPartition]int64{{Topic: "in", Partition: int32(part)}: at}, GroupMetadata{Group: "g", Generation: -1}) == nil {
			f.offsets[fmt.Sprintf("g/%d", part)] = at
		}
	}
	end := x.p.CommitTransaction
	f.end = "committed"
	if x.chance(4) {
		end, f.end = x.p.AbortTransaction, "aborted"
	}
	err = x.until(end)
	if errors.Is(err, klamm.ErrAbortable) && !errors.Is(err, klamm.ErrFatal) {
		f.end = "aborted"
		err = x.until(x.p.AbortTransaction)
	}
	x.mu.Lock()
	fmt.Fprintf(&x.story, "%s transaction %d %v: %s %v\n", time.Now().Format("05.000"), number, f.refs, f.end, err)
	x.mu.Unlock()
	if err != nil {
		return x.restart(f, err)
	}
	return f.end
}

// until repeats a call while it times out.
func (x *txnChaos) until(call func(context.Context) error) error {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+x.pick(5000))*time.Millisecond)
		err := call(ctx)
		cancel()
		if !errors.Is(err, klamm.ErrTimeout) || errors.Is(err, klamm.ErrAbortable) || errors.Is(err, klamm.ErrFatal) {
			return err
		}
	}
}

// restart follows a fatal error: a new producer of the same id.
func (x *txnChaos) restart(f *txnFate, err error) string {
	if klamm.ClassOf(err) != klamm.ClassFatal {
		x.t.Errorf("neither abortable nor fatal: %v", err)
	}
	f.end = "aborted"
	if errors.Is(err, klamm.ErrOutcomeUnknown) {
		f.end = "unknown"
	}
	x.restarted++
	x.close()
	x.start()
	if err := x.p.InitTransactions(context.Background()); err != nil {
		x.t.Errorf("a new producer of the same id: %v", err)
	}
	return f.end
}

func (x *txnChaos) check() {
	x.h.wait()
	if len(x.h.twice) > 0 {
		x.t.Errorf("records %v completed twice", x.h.twice)
	}
	where := map[uint64]*txnFate{}
	for _, f := range x.fates {
		for _, refs := range f.refs {
			for _, ref := range refs {
				where[ref] = f
			}
		}
	}
	seen := map[*txnFate]int{}
	for part := range int32(x.parts) {
		refs, open := x.net.logs[part].committed()
		if open {
			x.t.Errorf("partition %d: a transaction is open", part)
		}
		if !slices.IsSorted(refs) || len(slices.Compact(slices.Clone(refs))) != len(refs) {
			x.t.Errorf("partition %d: out of order or doubled: %v", part, refs)
		}
		for _, ref := range refs {
			f := where[ref]
			seen[f]++
			if f == nil || f.end == "aborted" {
				x.t.Errorf("partition %d: record %d of an aborted transaction is seen", part, ref)
			}
		}
	}
	offsets := map[string]int64{}
	for _, f := range x.fates {
		all := 0
		for _, refs := range f.refs {
			all += len(refs)
		}
		switch {
		case f.end == "committed" && seen[f] != all:
			x.t.Errorf("%d of %d records of a committed transaction are seen: %v", seen[f], all, f.refs)
		case f.end == "unknown" && seen[f] != 0 && seen[f] != all:
			x.t.Errorf("%d of %d records of a transaction are seen: it is torn", seen[f], all)
		}
		if f.end == "committed" || f.end == "unknown" && all > 0 && seen[f] == all {
			maps.Copy(offsets, f.offsets)
		} else if f.end == "unknown" {
			for at := range f.offsets {
				delete(offsets, at) // either value
			}
		}
	}
	for at, offset := range offsets {
		if got := x.coord.commits[at]; got != offset {
			x.t.Errorf("%s: offset %d is committed, want %d", at, got, offset)
		}
	}
}
