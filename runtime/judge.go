package runtime

import "github.com/klamm-io/klamm/sdk/abi"

// judge calls hook h with all records of b. When the modification area is too
// small for their edits it grows and the call is made again; what still does not
// fit is left to another block, by fewer verdicts than records.
func (in *instance) judge(h abi.Hook, b *Block, v *Verdicts) error {
	b.seal()
	for {
		size := b.size()
		if err := in.ensure(size + in.room); err != nil {
			return err
		}
		l := b.layout(int(in.blockCap), in.cfg.OutputMax)
		res, done, err := in.run(h, b, l)
		if err != nil {
			return err
		}
		if done < b.Len() && in.grow(l, done) {
			continue
		}
		if done == 0 {
			return in.nonsense(h, bad(0, "edit too large: more than %d bytes", in.cfg.OutputMax))
		}
		v.reset()
		if p := v.take(in.block(), l, h, b, done, int(res.ModUsed())); p != nil {
			return in.nonsense(h, p)
		}
		v.finish()
		return nil
	}
}

// grow reports whether a call whose modification area was full should be made
// again with a larger one. With no verdict at all it must, up to the output limit.
// With some it does so while the block stays small: from then on blocks like this
// one need one call.
func (in *instance) grow(l layout, done int) bool {
	if l.modCap >= in.cfg.OutputMax&^7 || done > 0 && l.modCap >= abi.BlockMax {
		return false
	}
	in.room = min(2*l.modCap, in.cfg.OutputMax)
	if r, ok := in.host.(Rewinder); ok {
		r.Rewind()
	}
	return true
}

// run encodes the block, calls the hook and checks its answer as a whole. done
// is the number of records with a verdict.
func (in *instance) run(h abi.Hook, b *Block, l layout) (res abi.CallResult, done int, err error) {
	b.encode(in.block(), l)
	in.running.block, in.running.count = b, b.Len()
	in.phase = phaseHook
	if h == abi.Partition {
		in.phase = phasePartition
	}
	in.stack = [2]uint64{uint64(in.blockPtr), uint64(l.mod + l.modCap)}
	err = in.call(in.hooks[h], h.Export(), in.cfg.Timeout)
	in.phase = phaseIdle
	in.running.block, in.running.count = nil, 0
	if err != nil {
		return 0, 0, err
	}
	in.flush()
	res = abi.CallResult(in.stack[0])
	if res.Err() != 0 {
		return 0, 0, &GuestError{Plugin: in.cfg.Name, Export: h.Export(), Code: res.Err(), Said: string(in.said)}
	}
	done, p := checkResult(in.block(), l, b.Len(), res)
	if p != nil {
		return 0, 0, in.nonsense(h, p)
	}
	return res, done, nil
}

// checkResult checks what a hook returned about the block as a whole.
func checkResult(mem []byte, l layout, count int, res abi.CallResult) (done int, p *badVerdict) {
	switch flags := res.Flags(); {
	case flags&^abi.CallPartial != 0:
		return 0, bad(-1, "unknown flags 0x%04x", flags)
	case int64(res.ModUsed()) > int64(l.modCap):
		return 0, bad(-1, "%d bytes used of a modification area of %d", res.ModUsed(), l.modCap)
	case flags == 0:
		return count, nil
	}
	said := le.Uint32(mem[abi.BatchDone:])
	if int64(said) > int64(count) {
		return 0, bad(-1, "%d records done of %d", said, count)
	}
	return int(said), nil
}

func (in *instance) nonsense(h abi.Hook, p *badVerdict) error {
	in.dead = true
	return &VerdictError{Plugin: in.cfg.Name, Export: h.Export(), Index: p.index, Problem: p.problem}
}

// notify calls hook h, which has no verdicts.
func (in *instance) notify(h abi.Hook, b *Block) error {
	b.seal()
	if err := in.ensure(b.size()); err != nil {
		return err
	}
	_, done, err := in.run(h, b, b.layout(b.size(), 0))
	if err == nil && done != b.Len() {
		err = in.nonsense(h, bad(-1, "partial answer to %s", h))
	}
	return err
}
