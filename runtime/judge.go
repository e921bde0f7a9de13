package runtime

import "github.com/klamm-io/klamm/sdk/abi"

// judge calls hook h until every record of b has a verdict in v, or the output
// limit is reached.
func (in *instance) judge(h abi.Hook, b *Block, v *Verdicts) error {
	b.seal()
	v.reset()
	for done := 0; done < b.Len(); {
		n, err := in.judgeFrom(h, b, v, done)
		if err != nil {
			return err
		}
		done += n
		if in.dead || len(v.buf) >= in.cfg.OutputMax {
			break
		}
	}
	v.finish()
	return nil
}

// judgeFrom judges records from first on, at least one, and returns how many.
// When the modification area is too small for even one it grows, up to the output
// limit.
func (in *instance) judgeFrom(h abi.Hook, b *Block, v *Verdicts, first int) (int, error) {
	for room := modMin; ; room *= 2 {
		room = min(room, in.cfg.OutputMax)
		size := b.prefix(b.Len()-first) + b.recordBytes(first)
		if err := in.ensure(size + room); err != nil {
			return 0, err
		}
		l := b.layout(first, int(in.blockCap), in.cfg.OutputMax)
		res, done, err := in.run(h, b, l)
		if err != nil {
			return 0, err
		}
		if done == 0 && l.count > 0 {
			if l.modCap >= in.cfg.OutputMax&^7 {
				return 0, in.nonsense(h, bad(first, "edit too large: more than %d bytes", in.cfg.OutputMax))
			}
			room = max(room, l.modCap)
			continue
		}
		if p := v.take(in.block(), l, h, b, done, int(res.ModUsed())); p != nil {
			return 0, in.nonsense(h, p)
		}
		return done, nil
	}
}

// run encodes the block, calls the hook and checks its answer as a whole. done
// is the number of records with a verdict.
func (in *instance) run(h abi.Hook, b *Block, l layout) (res abi.CallResult, done int, err error) {
	b.encode(in.block(), l)
	in.running.block, in.running.first, in.running.count = b, l.first, l.count
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
	done, p := checkResult(in.block(), l, res)
	if p != nil {
		return 0, 0, in.nonsense(h, p)
	}
	return res, done, nil
}

// checkResult checks what a hook returned about the block as a whole.
func checkResult(mem []byte, l layout, res abi.CallResult) (done int, p *badVerdict) {
	switch flags := res.Flags(); {
	case flags&^abi.CallPartial != 0:
		return 0, bad(-1, "unknown flags 0x%04x", flags)
	case int64(res.ModUsed()) > int64(l.modCap):
		return 0, bad(-1, "%d bytes used of a modification area of %d", res.ModUsed(), l.modCap)
	case flags == 0:
		return l.count, nil
	}
	said := le.Uint32(mem[abi.BatchDone:])
	if int64(said) > int64(l.count) {
		return 0, bad(-1, "%d records done of %d", said, l.count)
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
	_, done, err := in.run(h, b, b.layout(0, b.size(), 0))
	if err == nil && done != b.Len() {
		err = in.nonsense(h, bad(-1, "partial answer to %s", h))
	}
	return err
}
