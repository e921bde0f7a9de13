// Package workload makes the records that the benchmarks send, and the memory
// of keys that dedup asks.
package workload

import (
	"fmt"
	"strings"

	"github.com/klamm-io/klamm/bench/internal/ops"
)

// RingLen is how many different records there are. It is the largest batch, so
// that smaller ones come to see other records each time.
const RingLen = 512

// SizeMin is the least bytes of a value.
const SizeMin = 128

// knownEvery is the share of records whose key was delivered before.
const knownEvery = 4

// Record is a record.
type Record struct{ Key, Value []byte }

// Ring is a fixed set of records.
type Ring struct {
	Records []Record
	Size    int // bytes of each value
}

// NewRing returns a ring of records with values of size bytes: JSON objects of
// short members, the secret one last, so that mask reads all of them. It panics
// below SizeMin, as there is no room for the members.
func NewRing(size int) *Ring {
	r := &Ring{Size: size}
	for i := range RingLen {
		r.Records = append(r.Records, Record{
			Key:   fmt.Appendf(nil, "uw61%012d", i*7919),
			Value: value(i, size),
		})
	}
	return r
}

func value(i, size int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `{"id":"uw61%012d","net":"uw","mag":%d.%02d`, i*7919, i%7, i%100)
	tail := fmt.Sprintf(`,"email":"user%04d@example.com"}`, i)
	for n := 0; ; n++ {
		member := fmt.Sprintf(`,"f%d":"%d km NNE of Amboy, \"WA\""`, n, n*i%97)
		if b.Len()+len(member)+len(`,"pad":""`)+len(tail) > size {
			break
		}
		b.WriteString(member)
	}
	pad := size - b.Len() - len(`,"pad":""`) - len(tail)
	if pad < 0 {
		panic(fmt.Sprintf("workload: values of %d bytes are too small", size))
	}
	b.WriteString(`,"pad":"` + strings.Repeat("x", pad) + `"`)
	b.WriteString(tail)
	return []byte(b.String())
}

// Batch returns the n-th batch of size records; size must divide RingLen.
func (r *Ring) Batch(n, size int) []Record {
	at := n * size % RingLen
	return r.Records[at : at+size]
}

// Claims is the host's memory of keys: some were delivered before, the others
// are claimed by their own record each time, which is a lookup and a write.
type Claims struct {
	byKey map[string]*claim
	turn  uint64
}

type claim struct {
	known bool
	owner uint64
}

// NewClaims returns a memory that knows the ring's keys.
func NewClaims() *Claims {
	c := &Claims{byKey: map[string]*claim{}}
	for i, r := range NewRing(200).Records {
		c.byKey[string(r.Key)] = &claim{known: i%knownEvery == 0}
	}
	return c
}

// Claim reports whether the key is new; then it is the caller's.
func (c *Claims) Claim(key []byte) bool {
	c.turn++
	k := c.byKey[string(key)]
	if k == nil {
		c.byKey[string(key)] = &claim{owner: c.turn}
		return true
	}
	if k.known {
		return false
	}
	k.owner = c.turn
	return true
}

// Expect is the right answers for a batch, worked out in the plainest way.
func Expect(op ops.Op, claims *Claims, records []Record) []ops.Result {
	out := make([]ops.Result, len(records))
	for i, r := range records {
		switch op {
		case ops.Route:
			out[i] = ops.Result{Code: ops.Routed, Partition: ops.Partition(r.Key)}
		case ops.Dedup:
			if !claims.Claim(r.Key) {
				out[i].Code = ops.Dropped
			}
		case ops.Rewrite:
			out[i] = ops.Result{Code: ops.Replaced, Value: ops.AppendRewritten(nil, r.Value)}
		case ops.Mask:
			masked, _ := ops.AppendMasked(nil, r.Value)
			out[i] = ops.Result{Code: ops.Replaced, Value: masked}
		}
	}
	return out
}
