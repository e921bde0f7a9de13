package host

import (
	"github.com/klamm-io/klamm"
)

// tell gives the result to those who wait for it besides the callback.
func (m *more) tell(r klamm.Result) {
	if m.tally != nil {
		m.tally.complete(r.Outcome, 1)
	}
	if m.sync != nil {
		m.sync.set(m.index, r)
	}
}

// note is a callback to run, and the flush group that then counts it out, or
// those of a batch.
type note struct {
	batch  *batchEnd // nil for one record
	done   func(klamm.Result)
	result klamm.Result
	group  *flushGroup
}

// runNotifier is the third stage's goroutine.
func (p *Producer) runNotifier() {
	p.callbacks.goroutine = goroutineID()
	var over counted
	for {
		p.callbacks.busy.Store(false)
		notes, ok := p.notes.take()
		if !ok {
			return
		}
		p.callbacks.busy.Store(true)
		for i := range notes {
			n := &notes[i]
			if n.batch != nil {
				n.batch.call(&over, p.slots)
				n.batch.free()
				continue
			}
			if n.done != nil {
				n.done(n.result)
			}
			over.add(n.group, p.slots)
		}
		over.tell(p.slots)
	}
}

// counted counts records of one flush group that are wholly completed.
type counted struct {
	group *flushGroup
	n     int
}

func (c *counted) add(g *flushGroup, s *slots) {
	if g != c.group {
		c.tell(s)
		c.group = g
	}
	c.n++
}

func (c *counted) tell(s *slots) {
	if c.n > 0 {
		s.forget(c.group, c.n)
	}
	c.group, c.n = nil, 0
}
