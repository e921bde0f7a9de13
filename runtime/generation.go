package runtime

import (
	"context"
	"maps"
	"sync/atomic"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Generation is one loaded version of a plugin. It does not change.
type Generation struct {
	Number int    // counts from 1
	Digest string // of the module, SHA-256 in hex
	Module *Module
	Hooks  abi.HookMask // exported by the module and wanted by its klamm_init

	answer  abi.InitResult
	reasons map[uint16]string
	refs    atomic.Int64  // being active, and each instance
	gone    chan struct{} // closed with the last of them
}

func newGeneration(number int, m *Module, in *instance) *Generation {
	g := &Generation{
		Number: number, Digest: m.Digest(), Module: m, Hooks: in.answer.Hooks(),
		answer: in.answer, reasons: maps.Clone(in.reasons), gone: make(chan struct{}),
	}
	g.refs.Store(1)
	return g
}

// Fields returns what hook h asks to see of each record.
func (g *Generation) Fields(h abi.Hook) abi.Fields { return g.answer.Fields(h) }

var abiReasons = map[uint16]string{
	abi.ReasonDuplicate: "duplicate",
	abi.ReasonInvalid:   "invalid",
	abi.ReasonFiltered:  "filtered",
	abi.ReasonMissing:   "missing",
}

// Reason returns the name of a reason: one of the ABI's, one that the plugin
// declared, or "other".
func (g *Generation) Reason(code uint16) string {
	if name, ok := abiReasons[code]; ok {
		return name
	}
	if name, ok := g.reasons[code]; ok {
		return name
	}
	return "other"
}

// asksNoMoreThan reports whether a block that was built for old serves g too.
func (g *Generation) asksNoMoreThan(old *Generation) bool {
	for h := range abi.Hook(abi.HookCount) {
		if g.Fields(h)&^old.Fields(h) != 0 {
			return false
		}
	}
	return true
}

func (g *Generation) retain() { g.refs.Add(1) }

func (g *Generation) release(ctx context.Context) error {
	if g.refs.Add(-1) > 0 {
		return nil
	}
	defer close(g.gone)
	return g.Module.Close(ctx)
}
