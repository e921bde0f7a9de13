package host

import (
	"testing"
	"time"
)

// A partition that goes while its next try waits for its turn lets nothing pass:
// what comes after the records that were left would be written before them.
func TestATryAfterThePartitionWentLetsNothingPass(t *testing.T) {
	pr := newProgress()
	pr.c = &consumption{}
	h := &retryHold{pr: pr, policy: retryPolicy{most: 3, backoff: time.Hour, ceil: time.Hour}}
	pr.retry = h
	p := newParcel(2)
	rest := make([]retrial, 2)
	for i := range p.deliveries {
		p.deliveries[i].begin(pr, int64(i))
		p.deliveries[i].again = &rest[i]
	}
	first, second := &p.deliveries[0], &p.deliveries[1]
	if !h.holds(first, failing) {
		t.Fatal("the first failure is not held")
	}
	h.keep(retryRecord{d: first})
	h.close()
	if held := h.take(); len(held) != 0 {
		t.Fatalf("%d records are left", len(held))
	}
	if !h.holds(second, passing) {
		t.Error("a record passes the one before it, which the next owner reads again")
	}
}
