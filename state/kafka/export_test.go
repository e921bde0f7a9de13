package kafka

import (
	"github.com/klamm-io/klamm/state"
)

// FakeLog is for the suite, which is in a package of its own.
type FakeLog = fakeLog

func keyOf(id state.ID) []byte { return appendKey(nil, id) }

// NewFakeLog returns an empty one.
func NewFakeLog() *FakeLog { return newFakeLog() }

// Pick returns a number below n, by the seed.
func (l *fakeLog) Pick(n int) int { return l.pick(n) }

// Compact is compact.
func (l *fakeLog) Compact(p int32, tombstones bool) { l.compact(p, tombstones) }

// Commit commits writes in a transaction of their own.
func (l *fakeLog) Commit(writes []Write) (next map[int32]int64, err error) {
	txn, next := l.begin(), map[int32]int64{}
	for _, w := range writes {
		next[w.Partition] = txn.append(w) + 1
	}
	txn.committed = true
	txn.markAll()
	return next, nil
}
