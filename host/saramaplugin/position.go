package saramaplugin

import (
	"fmt"
	"sync"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// position is how far one partition may be committed. The user's handler marks
// messages that it has handled; those that plugins ended it never sees, so they
// are passed over here, but only when everything before them is handled.
type position struct {
	mu      sync.Mutex
	mark    func(next int64, metadata string) // nil once the claim has ended
	entries []positioned
	wanted  int64 // the highest offset that the handler has marked
	meta    string
	marked  int64
	settle  func(*host.ChainSeat, host.Completion)
}

// positioned is one message between its judgement and its end.
type positioned struct {
	offset int64
	open   bool
	// handed: the handler has it, or will; its mark ends it.
	handed bool
	seat   *host.ChainSeat
	ticket host.Ticket
}

func newPosition(mark func(int64, string)) *position {
	return &position{mark: mark, wanted: -1, marked: -1, settle: settle}
}

func settle(seat *host.ChainSeat, end host.Completion) { seat.Settle([]host.Completion{end}) }

// add follows a message that the handler will be handed, or that waits for
// something else (handed false); end ends the latter.
func (p *position) add(offset int64, handed bool, seat *host.ChainSeat, t host.Ticket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.follow(positioned{offset: offset, open: true, handed: handed, seat: seat, ticket: t})
}

// skip passes over a message that a plugin dropped. Its claims end with it.
func (p *position) skip(offset int64, seat *host.ChainSeat, t host.Ticket, r klamm.Result) {
	p.settle(seat, host.Completion{Ticket: &t, Result: r})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.follow(positioned{offset: offset})
	p.advance()
}

// follow begins where the first message is: nothing before it is ours to mark.
func (p *position) follow(e positioned) {
	if p.marked < 0 {
		p.marked = e.offset
	}
	p.entries = append(p.entries, e)
}

// end ends a message that waited for something else than the handler.
func (p *position) end(offset int64, r klamm.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.entries {
		if e := &p.entries[i]; e.offset == offset && e.open {
			p.close(e, r)
		}
	}
	p.advance()
}

func (p *position) close(e *positioned, r klamm.Result) {
	e.open = false
	p.settle(e.seat, host.Completion{Ticket: &e.ticket, Result: r})
}

// markTo is the handler's mark: everything that it was handed before next is
// handled.
func (p *position) markTo(topic string, partition int32, next int64, metadata string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.entries {
		e := &p.entries[i]
		if e.offset >= next {
			break
		}
		if e.open && e.handed {
			p.close(e, klamm.Result{Outcome: klamm.Written, Topic: topic, Partition: partition, Offset: e.offset})
		}
	}
	p.wanted, p.meta = max(p.wanted, next), metadata
	p.advance()
}

// resetTo follows a handler that goes back.
func (p *position) resetTo(next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marked, p.wanted = min(p.marked, next), min(p.wanted, next)
}

// advance marks up to the first message that has not ended.
func (p *position) advance() {
	n, next := 0, int64(-1)
	for n < len(p.entries) && !p.entries[n].open {
		next = p.entries[n].offset + 1
		n++
	}
	p.entries = p.entries[n:]
	wanted := p.wanted
	if len(p.entries) > 0 {
		wanted = min(wanted, p.entries[0].offset)
	}
	if next = max(next, wanted); next > p.marked && p.mark != nil {
		p.marked = next
		p.mark(next, p.meta)
	}
}

var errClaimEnded = fmt.Errorf("the partition's claim ended before the message was marked")

// abandon releases what messages hold that were never marked: they are read again.
func (p *position) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mark = nil
	for i := range p.entries {
		if e := &p.entries[i]; e.open {
			p.close(e, klamm.Result{Outcome: klamm.Failed, Err: errClaimEnded, Partition: klamm.NoPartition, Offset: klamm.NoOffset})
		}
	}
}
