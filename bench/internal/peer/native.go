package peer

import (
	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/bench/internal/workload"
)

// native does the work in this process, without any boundary.
type native struct {
	op     ops.Op
	claims *workload.Claims
	values arena
}

func openNative(op ops.Op) Judge { return &native{op: op, claims: workload.NewClaims()} }

func (n *native) Judge(records []workload.Record, out []ops.Result) error {
	n.values.reset()
	switch n.op {
	case ops.Pass:
		for i := range records {
			out[i] = ops.Result{}
		}
	case ops.Route:
		for i := range records {
			out[i] = ops.Result{Code: ops.Routed, Partition: ops.Partition(records[i].Key)}
		}
	case ops.Dedup:
		for i := range records {
			out[i] = ops.Result{}
			if !n.claims.Claim(records[i].Key) {
				out[i].Code = ops.Dropped
			}
		}
	case ops.Rewrite:
		for i := range records {
			v := ops.AppendRewritten(n.values.room(len(records[i].Value)+16), records[i].Value)
			out[i] = ops.Result{Code: ops.Replaced, Value: n.values.keep(v)}
		}
	case ops.Mask:
		for i := range records {
			out[i] = ops.Result{}
			if v, ok := ops.AppendMasked(n.values.room(len(records[i].Value)+16), records[i].Value); ok {
				out[i] = ops.Result{Code: ops.Replaced, Value: n.values.keep(v)}
			}
		}
	}
	return nil
}

func (n *native) Close() error { return nil }

// arena holds the values of one call. Its memory is used again by the next.
type arena struct {
	chunks [][]byte
	at     int
}

const chunkSize = 64 << 10

func (a *arena) reset() {
	for i := range a.chunks {
		a.chunks[i] = a.chunks[i][:0]
	}
	a.at = 0
}

// room returns an empty slice with room for n bytes, at most chunkSize.
func (a *arena) room(n int) []byte {
	for ; a.at < len(a.chunks); a.at++ {
		if c := a.chunks[a.at]; cap(c)-len(c) >= n {
			return c[len(c):len(c):cap(c)]
		}
	}
	a.chunks = append(a.chunks, make([]byte, 0, max(n, chunkSize)))
	return a.chunks[a.at]
}

// keep takes what was appended to the slice of room.
func (a *arena) keep(v []byte) []byte {
	c := &a.chunks[a.at]
	*c = (*c)[:len(*c)+len(v)]
	return v[:len(v):len(v)]
}

// copy returns a copy of v.
func (a *arena) copy(v []byte) []byte { return a.keep(append(a.room(len(v)), v...)) }
