package faulttest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/checker"
	"github.com/klamm-io/klamm/internal/checker/trial"
	"github.com/klamm-io/klamm/internal/faultproxy"
)

// startTransactions starts a trial of a transactional producer, with brokers that
// have agreed on a version of transactions.
func startTransactions(t *testing.T, version int16, o trial.Options) (*trial.Trial, context.Context) {
	t.Helper()
	o.Transactional = true
	more := o.Config
	o.Config = func(c *host.Config) {
		c.Producer.Linger = ms(2)
		if more != nil {
			more(c)
		}
	}
	tr, ctx := start(t, o)
	if version == 1 {
		must(t, checker.AgreeOnTransactions(ctx, embedded(t, tr).ListenAddrs(), 1))
	}
	return tr, ctx
}

// control is a proxy rule for a request of transactions.
func control(key kmsg.Key, a faultproxy.Action, chance float64, delay time.Duration) faultproxy.Rule {
	return faultproxy.Rule{Action: a, Key: int16(key), Chance: chance, Delay: delay}
}

// refuse has coordinators answer one in so many requests with an error.
func refuse(t *testing.T, tr *trial.Trial, key kmsg.Key, err *kerr.Error, one int64) (stop func()) {
	var over atomic.Bool
	// When runs on the brokers' one goroutine, for each partition of a request.
	n, last, struck := int64(0), kmsg.Request(nil), false
	embedded(t, tr).Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: -1, When: func(req kmsg.Request) bool {
		if over.Load() {
			return false
		}
		if req == last {
			return struck
		}
		n++
		last, struck = req, n%one == 0
		if struck {
			tr.Count(err.Message)
		}
		return struck
	}})
	return func() { over.Store(true) }
}

// TestTransactions has a row for each kind of fault of transactions, for both
// versions of the protocol. Of each transaction all is seen or nothing, none of the
// aborted ones is, and the group's offset is that of the last one committed.
func TestTransactions(t *testing.T) {
	proxy := func(r ...faultproxy.Rule) func(*testing.T, *trial.Trial) func() {
		return func(t *testing.T, tr *trial.Trial) func() {
			for _, r := range r {
				tr.Proxy.Add(r)
			}
			return nothing
		}
	}
	refuses := func(key kmsg.Key, err *kerr.Error, one int64) func(*testing.T, *trial.Trial) func() {
		return func(t *testing.T, tr *trial.Trial) func() { return refuse(t, tr, key, err, one) }
	}
	lost := func(chance float64) func(*testing.T, *trial.Trial) func() {
		return proxy(control(kmsg.EndTxn, faultproxy.CutBeforeReply, chance, 0), control(kmsg.AddPartitionsToTxn, faultproxy.CutBeforeReply, chance/3, 0),
			control(kmsg.TxnOffsetCommit, faultproxy.CutBeforeReply, chance/3, 0), control(kmsg.InitProducerID, faultproxy.CutBeforeReply, chance, 0))
	}
	tests := []struct {
		name   string
		dedup  bool
		config func(*host.Config)
		begin  func(*testing.T, *trial.Trial) (stop func())
		fault  string // that must be made several times
	}{
		{"T1 coordinators move", false, nil, func(t *testing.T, tr *trial.Trial) func() {
			return repeat(20*time.Millisecond, func(int) { embedded(t, tr).RehashCoordinators(); tr.Count("rehash") })
		}, "rehash"},
		{"T1 coordinators load", false, nil, refuses(kmsg.EndTxn, kerr.CoordinatorLoadInProgress, 3), kerr.CoordinatorLoadInProgress.Message},
		{"T1 the transaction before is being completed", false, nil, func(t *testing.T, tr *trial.Trial) func() {
			partitions := refuse(t, tr, kmsg.AddPartitionsToTxn, kerr.ConcurrentTransactions, 3)
			ends := refuse(t, tr, kmsg.EndTxn, kerr.ConcurrentTransactions, 3)
			return func() { partitions(); ends() }
		}, kerr.ConcurrentTransactions.Message},
		{"T2 replies to the end are lost", false, nil, lost(0.3), "cut_before_reply"},
		{"T2 replies to the end are lost, with dedup", true, nil, lost(0.3), "cut_before_reply"},
		{"T2 ends are lost", false, nil, proxy(control(kmsg.EndTxn, faultproxy.CutBeforeRequest, 0.3, 0)), "cut_before_request"},
		{"A1 ends arrive late, on the connection before", false, impatient, proxy(control(kmsg.EndTxn, faultproxy.HoldRequest, 0.2, 400*time.Millisecond)), "hold_request"},
		{"A1 partitions and offsets are added late", false, impatient, proxy(
			control(kmsg.AddPartitionsToTxn, faultproxy.HoldRequest, 0.1, 400*time.Millisecond),
			control(kmsg.TxnOffsetCommit, faultproxy.HoldRequest, 0.1, 400*time.Millisecond)), "hold_request"},
		{"A5 out of order in a transaction", false, nil, func(t *testing.T, tr *trial.Trial) func() {
			fault(t, tr, kerr.OutOfOrderSequenceNumber, nil, every(40))
			return nothing
		}, kerr.OutOfOrderSequenceNumber.Message},
		{"A20 a commit ends in an unknown error", false, nil, refuses(kmsg.EndTxn, kerr.UnknownServerError, 6), kerr.UnknownServerError.Message},
		{"A20 transactions that must be aborted", false, nil, refuses(kmsg.EndTxn, kerr.TransactionAbortable, 4), kerr.TransactionAbortable.Message},
		{"A22 buffer of one batch", false, func(c *host.Config) {
			c.Producer.BufferMemory, c.Producer.BatchSize = 4<<10, 2<<10
		}, lost(0.2), "cut_before_reply"},
		{"A30 retries and dedup", true, nil, proxy(rule(faultproxy.CutBeforeReply, 0.3)), "cut_before_reply"},
		{"N1 replies to records are lost", false, nil, proxy(rule(faultproxy.CutBeforeReply, 0.2)), "cut_before_reply"},
		{"N3 swallowed", false, impatient, proxy(rule(faultproxy.Swallow, 0.03), control(kmsg.EndTxn, faultproxy.Swallow, 0.1, 0)), "swallow"},
		{"B2 leaders move", false, nil, func(t *testing.T, tr *trial.Trial) func() {
			return repeat(20*time.Millisecond, func(int) { shuffle(tr); tr.Count("shuffle") })
		}, "shuffle"},
	}
	for _, tt := range tests {
		for _, version := range []int16{1, 2} {
			t.Run(fmt.Sprintf("%s, version %d", tt.name, version), func(t *testing.T) {
				t.Parallel()
				tr, ctx := startTransactions(t, version, trial.Options{Dedup: tt.dedup, Config: tt.config, Partitions: 6})
				stop := tt.begin(t, tr)
				must(t, tr.Transactions(ctx, records(20), 30))
				for tr.Faults()[tt.fault] < 4 {
					must(t, tr.Transactions(ctx, 5, 30))
				}
				stop()
				r := finish(t, ctx, tr)
				if r.Acknowledged == 0 {
					t.Error("nothing was acknowledged")
				}
			})
		}
	}
}

// T3: a second producer of the same id fences the first, in the middle of a
// transaction. The first is told so once, and nothing of it is seen.
func TestT3_Fenced(t *testing.T) {
	for _, version := range []int16{1, 2} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			t.Parallel()
			tr, ctx := startTransactions(t, version, trial.Options{Keep: true})
			must(t, tr.Transactions(ctx, 3, 30))
			cfg := host.Config{}
			cfg.Cluster.BootstrapServers = tr.Host.Brokers()
			cfg.Producer.TransactionalID = tr.Topic()
			second, err := host.New(cfg)
			must(t, err)
			defer func() { must(t, second.Close(ctx)) }()
			err = tr.Within(ctx, true, func(load func(int) error) error {
				must(t, load(30))
				must(t, tr.Producer.Flush(ctx))
				p, err := second.Producer()
				must(t, err)
				must(t, p.InitTransactions(ctx))
				return load(30)
			})
			if !errors.Is(err, klamm.ErrFenced) || klamm.ClassOf(err) != klamm.ClassFatal {
				t.Errorf("the first one ended with %v", err)
			}
			if err := tr.Producer.BeginTransaction(ctx); !errors.Is(err, klamm.ErrFenced) {
				t.Errorf("it began another transaction: %v", err)
			}
			must(t, tr.Replace(ctx))
			finish(t, ctx, tr)
		})
	}
}

// T4: brokers abort transactions for their age, while more records of them are sent.
func TestT4_TransactionsTimeOut(t *testing.T) {
	t.Parallel()
	tr, ctx := startTransactions(t, 1, trial.Options{Config: func(c *host.Config) { c.Producer.TransactionTimeout = ms(1000) }})
	for range 2 {
		must(t, tr.Transaction(ctx, 30, true))
		must(t, tr.Within(ctx, true, func(load func(int) error) error {
			must(t, load(20))
			must(t, tr.Producer.Flush(ctx))
			select {
			case <-time.After(1500 * time.Millisecond): // the broker's clock is real
			case <-ctx.Done():
			}
			return load(10)
		}))
	}
	r := finish(t, ctx, tr)
	if r.Faults["transaction_lost"]+r.Faults["producer_replaced"] == 0 {
		t.Errorf("no transaction was lost: %v", r.Faults)
	}
}

// A21: Close ends while the end of a transaction gets no answer, and tells that
// nobody knows what came of it.
func TestA21_CloseDuringAnEnd(t *testing.T) {
	t.Parallel()
	tr, ctx := startTransactions(t, 2, trial.Options{})
	cfg := host.Config{}
	cfg.Cluster.BootstrapServers = tr.Host.Brokers()
	cfg.Producer.TransactionalID, cfg.Producer.RequestTimeout, cfg.Producer.Linger = "other", ms(300), ms(1)
	h, err := host.New(cfg)
	must(t, err)
	p, err := h.Producer()
	must(t, err)
	must(t, p.BeginTransaction(ctx))
	_, err = p.Send(ctx, &klamm.Record{Topic: tr.Topic(), Value: []byte("v")})
	must(t, err)
	tr.Proxy.Add(control(kmsg.EndTxn, faultproxy.Swallow, 1, 0))
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if err := p.CommitTransaction(short); !errors.Is(err, klamm.ErrTimeout) {
		t.Errorf("commit: %v", err)
	}
	closing, done := context.WithTimeout(ctx, time.Second)
	defer done()
	if err := h.Close(closing); err == nil {
		t.Error("Close did not tell that the end of the transaction is not known")
	}
	if ctx.Err() != nil {
		t.Error("Close did not end")
	}
}

// TestTransactionsChaos has all of it at once.
func TestTransactionsChaos(t *testing.T) {
	for _, version := range []int16{1, 2} {
		for _, dedup := range []bool{false, true} {
			t.Run(fmt.Sprintf("version %d, dedup %v", version, dedup), func(t *testing.T) {
				t.Parallel()
				tr, ctx := startTransactions(t, version, trial.Options{Dedup: dedup, Config: impatient})
				for _, key := range []kmsg.Key{kmsg.EndTxn, kmsg.AddPartitionsToTxn, kmsg.TxnOffsetCommit, kmsg.InitProducerID} {
					for _, a := range []faultproxy.Action{faultproxy.CutBeforeReply, faultproxy.CutInRequest, faultproxy.HoldRequest, faultproxy.HoldReply} {
						tr.Proxy.Add(control(key, a, 0.02, 350*time.Millisecond))
					}
				}
				stop := tr.Chaos(ctx)
				for range records(10) {
					must(t, tr.Transactions(ctx, 5, 60))
				}
				stop()
				finish(t, ctx, tr)
			})
		}
	}
}
