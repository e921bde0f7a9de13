package consume

import (
	"fmt"
	"slices"

	"github.com/klamm-io/klamm"
)

// Seeker is a Handler that hears of seeks.
type Seeker interface {
	// Sought is called between calls of Records when the next ones are from
	// offset on. forget has the group take commits of lower offsets than before,
	// and refuse those whose Ticket is older; call it together with whatever keeps
	// the partition's position.
	Sought(tp klamm.TopicPartition, offset int64, forget func())
}

// Seek has a partition of the member's read on at offset, at its next call of
// Records; what was fetched before is dropped. A running call of Records goes on.
// One that is not the member's is ErrNotOwner. In Handler.Assigned it sets where
// the new partitions start.
func (g *Group) Seek(tp klamm.TopicPartition, offset int64) error {
	if offset < 0 {
		return fmt.Errorf("seek %s/%d to offset %d: offsets start at 0", tp.Topic, tp.Partition, offset)
	}
	if !g.own.startAt(tp, offset) {
		return fmt.Errorf("seek %s/%d: %w", tp.Topic, tp.Partition, ErrNotOwner)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fetcher != nil && g.fetcher.seek(tp, offset) {
		g.own.takeStart(tp)
	}
	return nil
}

// seek leaves the offset for the goroutine that hands the partition's records
// out, so that it meets no call of the handler. It returns false where nobody
// reads the partition.
func (f *fetcher) seek(tp klamm.TopicPartition, offset int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.parts, func(p *partition) bool { return p.TopicPartition == tp })
	if i < 0 {
		return false
	}
	f.parts[i].seek = offset
	poke(f.parts[i].sought)
	return true
}

// noSeek is that nobody has asked for one.
const noSeek int64 = -1

// applySeek carries out a seek that is due. p's handler is not running.
func (f *fetcher) applySeek(p *partition, s sink) bool {
	f.mu.Lock()
	to := p.seek
	if to == noSeek {
		f.mu.Unlock()
		return false
	}
	select {
	case d := <-p.data:
		if d.err != nil { // the end of the reading, which a seek does not undo
			p.data <- d
			f.mu.Unlock()
			return false
		}
		p.full = false
	default:
	}
	p.seek, p.next, p.retries = noSeek, to, 0
	b := f.brokers[p.broker]
	f.mu.Unlock()
	s.sought(p.TopicPartition, to)
	if b != nil {
		poke(b.kick)
	}
	return true
}
