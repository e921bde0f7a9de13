package host

import (
	"sync/atomic"
	"time"
)

// TransactionStats are a transactional producer's figures. Times are those that
// callers spent in the calls, ended or not, their waiting for each other included:
// Kafka's txn-*-time-ns-total.
type TransactionStats struct {
	Committed, Aborted int64
	Init               time.Duration // InitTransactions
	Begin              time.Duration // BeginTransaction
	SendOffsets        time.Duration
	Commit             time.Duration // CommitTransaction
	Abort              time.Duration // AbortTransaction
}

// txnCall is one of the calls whose time is counted.
type txnCall int

const (
	txnInit txnCall = iota
	txnBegin
	txnSendOffsets
	txnCommit
	txnAbort
	txnCalls
)

// txnFigures are counted while anybody may read them.
type txnFigures struct {
	commits, aborts atomic.Int64
	spent           [txnCalls]atomic.Int64 // nanoseconds
}

func (f *txnFigures) since(call txnCall, start time.Time) {
	f.spent[call].Add(int64(time.Since(start)))
}

func (f *txnFigures) stats() TransactionStats {
	spent := func(c txnCall) time.Duration { return time.Duration(f.spent[c].Load()) }
	return TransactionStats{
		Committed: f.commits.Load(), Aborted: f.aborts.Load(),
		Init: spent(txnInit), Begin: spent(txnBegin), SendOffsets: spent(txnSendOffsets), Commit: spent(txnCommit), Abort: spent(txnAbort),
	}
}
