package runtime

import (
	"bytes"
	"fmt"

	"github.com/klamm-io/klamm/sdk/abi"
)

// initialise makes the exchange block and calls klamm_init.
func (in *instance) initialise(at place) error {
	in.phase = phaseInit
	block := in.initBlock(at)
	if err := in.ensure(len(block)); err != nil {
		return err
	}
	copy(in.block(), block)
	in.stack = [2]uint64{uint64(in.blockPtr), uint64(len(block))}
	if err := in.call(in.mod.ExportedFunction(abi.ExportInit), abi.ExportInit, initTimeout); err != nil {
		return err
	}
	in.flush()
	in.phase = phaseIdle
	answer := abi.InitResult(in.stack[0])
	if code := answer.Err(); code != 0 {
		return &GuestError{Plugin: in.cfg.Name, Export: abi.ExportInit, Code: code, Said: string(in.said)}
	}
	in.answer = answer
	return in.checkAnswer()
}

// checkAnswer compares the hooks that the guest wants with those that it has.
func (in *instance) checkAnswer() error {
	wants, has := in.answer.Hooks(), in.module.Hooks()
	for h := range abi.Hook(abi.HookCount) {
		if wants.Has(h) && !has.Has(h) {
			return fmt.Errorf("call %s: wants %s but the module exports no %s", abi.ExportInit, h, h.Export())
		}
	}
	if known := abi.HookMask(1<<abi.HookCount - 1); wants&^known != 0 {
		return fmt.Errorf("call %s: wants unknown hooks 0x%x", abi.ExportInit, uint16(wants&^known))
	}
	if wants == 0 {
		return fmt.Errorf("call %s: wants no hook", abi.ExportInit)
	}
	return nil
}

// initBlock is a header, then the bytes that its offset/length pairs point at.
func (in *instance) initBlock(at place) []byte {
	b := make([]byte, abi.InitHeaderSize)
	le.PutUint32(b[abi.InitMinor:], abi.Minor)
	le.PutUint32(b[abi.InitLane:], uint32(at.lane))
	le.PutUint32(b[abi.InitLanes:], uint32(max(at.lanes, 1)))
	if in.cfg.Stretched {
		le.PutUint32(b[abi.InitMinor:], abi.Minor+1)
		le.PutUint32(b[abi.InitFlags:], unknownFlag)
		b = append(b, bytes.Repeat([]byte{stretchFill}, stretchedInit-abi.InitHeaderSize)...)
	}
	config := in.cfg.Config
	if config == nil {
		config = []byte("{}")
	}
	var topics []byte
	for _, t := range at.topics {
		topics = append(le.AppendUint32(topics, uint32(len(t))), t...)
	}
	for _, part := range []struct {
		pair  int
		bytes []byte
	}{
		{abi.InitConfig, config},
		{abi.InitPlugin, []byte(in.cfg.Name)},
		{abi.InitChain, []byte(at.chain)},
		{abi.InitClientID, []byte(in.cfg.ClientID)},
		{abi.InitTopics, topics},
	} {
		le.PutUint32(b[part.pair:], uint32(len(b)))
		le.PutUint32(b[part.pair+4:], uint32(len(part.bytes)))
		b = append(b, part.bytes...)
		b = append(b, zeros[:abi.Align8(len(b))-len(b)]...)
	}
	return b
}
