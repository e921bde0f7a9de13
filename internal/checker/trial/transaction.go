package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/checker"
)

// group is the consumer group whose offsets the transactions commit: of the trial's
// own topic, as if that were the input.
const group = "trial"

// inputs is how many partitions have such offsets.
const inputs = 3

// endLimit is how long the end of a transaction is waited for.
const endLimit = 30 * time.Second

// Transaction sends n records in a transaction that has an offset too, and commits
// or aborts it. What came of it is in the history; a commit that brokers refuse ends
// in an abort, and a producer that is lost is replaced. The error is that of ctx,
// or tells what must not be.
func (t *Trial) Transaction(ctx context.Context, n int, commit bool) error {
	return t.Within(ctx, commit, func(load func(int) error) error { return load(n) })
}

// Within is Transaction for whoever does more in it than to load records.
func (t *Trial) Within(ctx context.Context, commit bool, f func(load func(n int) error) error) error {
	return t.transact(ctx, commit, func(txn uint32) error {
		return f(func(n int) error {
			for i := range n {
				s := t.senders[i%len(t.senders)]
				s.txn = txn
				if err := s.Send(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// Transactions does it so many times. Every fifth is aborted.
func (t *Trial) Transactions(ctx context.Context, times, n int) error {
	for i := range times {
		if err := t.Transaction(ctx, n, i%5 != 4); err != nil {
			return err
		}
	}
	return nil
}

func (t *Trial) transact(ctx context.Context, commit bool, send func(txn uint32) error) error {
	t.outcome = checker.TxnUnknown
	if err := t.Producer.BeginTransaction(ctx); err != nil {
		if errors.Is(err, klamm.ErrFatal) && !errors.Is(err, klamm.ErrFenced) {
			return t.Replace(ctx)
		}
		return fmt.Errorf("begin a transaction: %w", err)
	}
	t.txn++
	txn := t.txn
	// Before its end is noted, nobody knows.
	if err := t.history.Txn(txn, checker.TxnUnknown); err != nil {
		return err
	}
	if err := send(txn); err != nil {
		return err
	}
	t.sendOffset(ctx, txn)
	end, outcome := t.Producer.CommitTransaction, checker.TxnCommitted
	if !commit {
		end, outcome = t.Producer.AbortTransaction, checker.TxnAborted
	}
	err := t.endTransaction(ctx, end)
	if err != nil && !errors.Is(err, klamm.ErrFatal) {
		t.Count("transaction_lost")
		outcome = checker.TxnAborted
		err = t.endTransaction(ctx, t.Producer.AbortTransaction)
	}
	switch {
	case errors.Is(err, klamm.ErrOutcomeUnknown):
		outcome = checker.TxnUnknown
	case err != nil:
		outcome = checker.TxnAborted
	}
	t.outcome = outcome
	t.note(t.history.Txn(txn, outcome))
	if errors.Is(err, klamm.ErrFatal) && !t.o.Keep {
		return t.Replace(ctx)
	}
	return err
}

// sendOffset commits an offset with the transaction. A refusal makes it one that is
// to be aborted; the end tells.
func (t *Trial) sendOffset(ctx context.Context, txn uint32) {
	o := checker.TxnOffset{Txn: txn, Partition: int32(txn % inputs), Offset: int64(txn)}
	t.note(t.history.Offset(o))
	at := map[klamm.TopicPartition]int64{{Topic: t.o.Topic, Partition: o.Partition}: o.Offset}
	for {
		err := t.Producer.SendOffsets(ctx, at, host.GroupMetadata{Group: group, Generation: -1})
		if !errors.Is(err, klamm.ErrTimeout) || errors.Is(err, klamm.ErrAbortable) || errors.Is(err, klamm.ErrFatal) || ctx.Err() != nil {
			return
		}
	}
}

// endTransaction calls until it is known how the call ended.
func (t *Trial) endTransaction(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	for {
		err := call(ctx)
		if !errors.Is(err, klamm.ErrTimeout) || errors.Is(err, klamm.ErrAbortable) || errors.Is(err, klamm.ErrFatal) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("a transaction has not ended within %v: %w", endLimit, err)
		}
	}
}

// Replace opens another host in the place of one whose producer is lost, and its
// ids with it.
func (t *Trial) Replace(ctx context.Context) error {
	t.Count("producer_replaced")
	t.forgot = append(t.forgot, t.now())
	_ = t.closeHost(ctx) // it says again that its producer is lost
	cfg, options := t.config()
	var err error
	if t.Host, err = host.New(cfg, options...); err != nil {
		return err
	}
	if t.Producer, err = t.Host.Producer(); err != nil {
		return err
	}
	return t.endTransaction(ctx, t.Producer.InitTransactions)
}

// offsets are those that the group has in the end. nil: there were no transactions.
func (t *Trial) offsets(ctx context.Context) (map[int32]int64, error) {
	if t.txn == 0 {
		return nil, nil
	}
	return checker.CommittedOffsets(ctx, t.direct, group, t.o.Topic)
}
