package guard

import "slices"

// cost estimates what the engine's compiler will spend on a function, in about
// nanoseconds, apart from what grows with its size only. A function of 5 KB made
// for it takes minutes, in which nothing can stop the compiler. What costs are
// jumps, and the locals that are alive where jumps meet: there the compiler
// merges values, in as many rounds as loops are nested, and it carries them along
// when it allocates registers.
//
// Places in a function are counted in edges of its control flow seen so far.
type cost struct {
	now    int32
	sets   int32   // of locals, so far
	first  []int32 // place of each local's first use, -1 before
	last   []int32 // place of its last use
	joins  []join
	depth  int32 // of open loops
	rounds int64 // the deepest that was, and one
	outer  int32 // where the outermost open loop starts

	born, died []int32 // locals whose first, and last, use is at a place or before
}

// join is a place where edges meet. Locals used in the places between from and
// to may be alive there.
type join struct {
	from, to int32
	edges    int32
	merged   int32 // most locals that can differ between the edges
	carried  int32 // operands below
	args     int32 // values that the edges take along
}

// Nanoseconds, measured, and rounded up.
const (
	costEdgePair = 5   // of two edges in one function
	costMerge    = 1   // of two values that are merged at the same place
	costCarry    = 300 // of a value alive at an edge
	costTrifle   = 1_000_000
	costEndless  = 1 << 50 // more is not counted
)

func (k *cost) begin(params, locals int) {
	*k = cost{
		first: slices.Grow(k.first[:0], locals)[:locals], last: slices.Grow(k.last[:0], locals)[:locals],
		joins: k.joins[:0], born: k.born, died: k.died, rounds: 1,
	}
	for i := range k.first {
		k.first[i], k.last[i] = -1, -1
	}
	clear(k.first[:params])
}

// use notes that a local is read or written. What is read first was there from
// the beginning, as zero.
func (k *cost) use(local uint32, write bool) {
	k.last[local] = k.now
	if write {
		k.sets++
	}
	if k.first[local] >= 0 {
		return
	}
	if k.first[local] = k.now; !write {
		k.first[local] = 0
	}
}

func (k *cost) edges(n int32) { k.now += n }

// open notes that a block begins.
func (k *cost) open(f *frame) {
	k.now++
	f.start, f.sets, f.edges = k.now, k.sets, 1
	switch f.op {
	case opIf:
		f.edges++
	case opLoop:
		if k.depth == 0 {
			k.outer = k.now
		}
		k.depth++
		k.rounds = max(k.rounds, int64(k.depth)+1)
	}
}

// end notes that a block ends.
func (k *cost) end(f *frame) {
	k.now++
	j := join{from: k.now, to: k.now, edges: f.edges, merged: k.sets - f.sets, carried: int32(f.height), args: int32(len(f.branchArgs()))}
	if k.depth > 0 {
		j.from = k.outer
	}
	if f.op == opLoop {
		// Locals are merged at its start, each that is read inside or later.
		k.depth--
		j.from, j.merged = min(j.from, f.start), int32(len(k.first))
	}
	if f.edges > 1 || f.op == opLoop {
		k.joins = append(k.joins, j)
	}
}

// total is the estimate for the function.
func (k *cost) total() int64 {
	e, l := int64(k.now), int64(len(k.first))
	sum := costEdgePair * e * e
	if least := sum + e*l*(l*k.rounds+costCarry); least < costTrifle && least >= 0 {
		return least
	}
	k.count()
	for _, j := range k.joins {
		alive := int64(k.born[j.to] - k.died[j.from])
		merged := min(alive, int64(j.merged)) + int64(j.args)
		sum += int64(j.edges) * (costMerge*merged*merged*k.rounds + costCarry*(alive+int64(j.carried)))
		if sum > costEndless {
			return costEndless
		}
	}
	return sum
}

// count fills born, and died one place later.
func (k *cost) count() {
	n := int(k.now) + 2
	k.born, k.died = slices.Grow(k.born[:0], n)[:n], slices.Grow(k.died[:0], n)[:n]
	clear(k.born)
	clear(k.died)
	for i, at := range k.first {
		if at >= 0 && k.last[i] >= 0 {
			k.born[at]++
			k.died[k.last[i]+1]++
		}
	}
	for i := 1; i < n; i++ {
		k.born[i] += k.born[i-1]
		k.died[i] += k.died[i-1]
	}
}
