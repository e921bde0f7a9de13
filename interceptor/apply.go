package interceptor

import (
	"errors"
	"fmt"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

var errNoDeadLetterTopic = errors.New("the record belongs in a dead-letter topic and none is configured; set dead_letter_topic of the plugin or of its chain")

// apply lets one verdict take effect. After an error, of the returned kind, the
// record is as it was before.
func (r *run) apply(p *place, gen *generation, it *Item, v *runtime.Verdict) (kind string, err error) {
	switch v.Code {
	case abi.Drop:
		r.end(p, gen, it, klamm.Dropped, v)
		r.tally.drop(v.Reason, gen.reasonOf(v.Reason))
	case abi.Fail:
		r.end(p, gen, it, klamm.Failed, v)
		it.Err = p.errorOf(errors.New(it.Reason))
	case abi.DeadLetter:
		r.end(p, gen, it, klamm.DeadLettered, v)
		r.deadLetter(p, it)
	case abi.ValueInPlace:
		if len(v.Value) != len(it.Record.Value) || it.Record.Value == nil {
			return "verdict", fmt.Errorf("a value changed in place has %d bytes and had %d", len(v.Value), len(it.Record.Value))
		}
		it.Record.Value, it.edited = r.batch.arena.copy(v.Value), true
	case abi.Edit:
		return r.edit(p, it, v.Edits)
	default:
		return "verdict", fmt.Errorf("verdict %s is not allowed in %s", v.Code, r.hook)
	}
	return "", nil
}

// end ends a record's way by a plugin's verdict.
func (r *run) end(p *place, gen *generation, it *Item, o klamm.Outcome, v *runtime.Verdict) {
	r.ended(p, gen, it, o)
	it.ReasonCode = v.Reason
	it.Reason = v.Why(gen.reasonOf(v.Reason))
}

// ended notes what ended a record's way and where.
func (r *run) ended(p *place, gen *generation, it *Item, o klamm.Outcome) {
	it.Outcome, it.Plugin, it.Link = o, p.link.Name, uint16(p.index+1)
	it.hook, it.by = r.hook, gen
}

// deadLetter gives a dead-lettered record its topic. Without one it fails.
func (r *run) deadLetter(p *place, it *Item) {
	it.DeadLetterTopic = p.link.DeadLetterTopic
	if it.DeadLetterTopic == "" {
		it.DeadLetterTopic = r.lane.chain.cfg.DeadLetterTopic
	}
	if it.DeadLetterTopic != "" {
		return
	}
	it.Outcome = klamm.Failed
	err := errNoDeadLetterTopic
	if it.Reason != "" {
		err = fmt.Errorf("%s: %w", it.Reason, errNoDeadLetterTopic)
	}
	it.Err = p.errorOf(err)
	r.fault(p, "dead_letter_unset", it.Err)
}

// route sets the partition that the record demands; -1 demands none.
func route(rec *klamm.Record, partition int32) error {
	switch {
	case partition == -1:
		rec.Target = 0
	case partition < 0:
		return fmt.Errorf("route to partition %d: %w", partition, klamm.ErrInvalidPartition)
	default:
		rec.Target = klamm.ToPartition(partition)
	}
	return nil
}
