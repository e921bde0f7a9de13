package host

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/state"
)

// A commit may end without anybody having seen how: the answer to EndTxn got lost,
// and the coordinator has nothing to say to the next one. The offsets are in the
// same transaction, so they tell. Who asks for them waits until no transaction has
// any that are pending, and a new producer of the same id, where there is one, has
// seen to that: an EndTxn that arrives later finds another epoch (KAFKA-17754).
//
// Offsets have a mark of their transaction, as their metadata. Without it, a
// partition that went to another host could not be told from one whose offset we
// committed: that host may have read the same records again and come as far.

// notes is what is kept with the offsets of a transaction.
func (p *pipeline) notes(offsets map[klamm.TopicPartition]int64) (map[klamm.TopicPartition]string, error) {
	mark := fmt.Sprintf("klamm.txn/1 %016x", rand.Uint64())
	if p.sheets != nil {
		return p.sheets.notes(offsets, mark)
	}
	notes := make(map[klamm.TopicPartition]string, len(offsets))
	for tp := range offsets {
		notes[tp] = mark
	}
	return notes, nil
}

// fate is what a transaction came to.
type fate uint8

const (
	fateUnknown fate = iota
	fateCommitted
	fateAborted
)

// judge reads off the group's offsets what the cut came to. One partition is
// enough, for the transaction is whole.
func (c *cut) judge(now map[klamm.TopicPartition]consume.Noted) fate {
	for tp, at := range c.offsets {
		switch there := now[tp]; {
		case there.Note == c.notes[tp]:
			return fateCommitted
		case there.Offset < at:
			return fateAborted
		}
	}
	return fateUnknown // others have gone on from all of them
}

// doubt is what a transaction holds whose end nobody knows yet. The number of its
// producer stays taken: it is in the refs.
type doubt struct {
	p *Producer
	heldClaims
}

// settle ends it. Each record has its own fate where the transaction was
// committed.
func (d *doubt) settle(f fate) {
	var s state.Settlement
	switch f {
	case fateAborted:
		s = state.Settlement{Outcome: klamm.Failed, Err: klamm.ErrTransactionAborted}
	case fateUnknown:
		s = state.Settlement{Outcome: klamm.Failed, Err: klamm.ErrOutcomeUnknown, Unknown: true}
	}
	d.p.producers.complete(d.settleHeld(d.p.ledger, s, d.p.clock.nowMS(), nil))
	d.p.ledger.Flush()
	d.p.producers.remove(d.p)
}

// follow has claims and figures follow a commit whose end the life that began it
// did not see.
func (p *pipeline) follow(ctx context.Context) error {
	f := fateAborted
	if c := p.once.cut; c != nil && c.by.committed() > c.commits {
		f = fateCommitted
	} else if c != nil && c.by.txn.doubt != nil {
		now, err := consume.CommittedNoted(ctx, p.h.cluster, p.groupID, slices.Collect(maps.Keys(c.offsets)))
		if err != nil {
			return fmt.Errorf("ask what the last transaction came to: %w", err)
		}
		f = c.judge(now)
	}
	p.followTo(f)
	return nil
}

func (p *pipeline) followTo(f fate) {
	c := p.once.cut
	if p.once.cut = nil; f == fateCommitted {
		p.once.counts.commit(c.counts)
		p.Committed(c.offsets)
	}
	for tp, claims := range p.limbo {
		for _, claim := range claims {
			outcome, why := klamm.Failed, errPartitionGone
			if c != nil && claim.offset < c.offsets[tp] {
				switch f {
				case fateCommitted:
					outcome, why = klamm.Written, nil
				case fateUnknown:
					why = klamm.ErrOutcomeUnknown
				}
			}
			p.h.settleClaims(tp, []progressClaim{claim}, outcome, why)
		}
	}
	clear(p.limbo)
	if c != nil && c.by.txn.doubt != nil {
		p.log.Info("a commit without an answer: the group's offsets tell", "pipeline", p.name, "fate", f.String())
		c.by.txn.doubt.settle(f)
		c.by.txn.doubt = nil
	}
}

func (f fate) String() string { return [...]string{"unknown", "committed", "aborted"}[f] }

// lastLook is how long a pipeline that ends waits for the brokers to tell what its
// last commit came to. What is not known then follows the plugins' on_unknown.
const lastLook = 5 * time.Second

// followLast is follow for a pipeline that goes on with no other producer.
func (p *pipeline) followLast() {
	ctx, cancel := context.WithTimeout(context.Background(), lastLook)
	defer cancel()
	if err := p.follow(ctx); err != nil {
		p.log.Warn("the end of the last transaction is not known", "pipeline", p.name, "err", err)
		p.followTo(fateUnknown)
	}
}
