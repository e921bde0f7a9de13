package hostile

import (
	"fmt"

	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// Fate is what may become of a module.
type Fate string

// The fates.
const (
	Refused  Fate = "refused"  // when it is loaded
	Faulted  Fate = "faulted"  // in a call
	Harmless Fate = "harmless" // its answers are taken
	Any      Fate = "any"      // depends on the machine, or on which record it gets
)

// Case is one hostile module.
type Case struct {
	Name string
	// Row of the fault matrix that it belongs to: P1 to P12 are what a plugin may
	// do at run time, W1 and W2 what a file may hold.
	Row  string
	Wasm []byte
	Fate Fate
	// Slow marks modules that use up the 5 s which initialisation may take.
	Slow bool
	// Singles is how many calls with one record each it wants, besides the batch:
	// a record's timestamp is its number.
	Singles int
	// Records is how many records the batch should have; 0 stands for 8.
	Records int
}

// Corpus returns all cases. Names are distinct.
func Corpus() []Case {
	var c corpus
	c.traps()
	c.loops()
	c.memory()
	c.stacks()
	c.pointers()
	c.verdicts()
	c.edits()
	c.blocks()
	c.topics()
	c.logs()
	c.starts()
	c.allocs()
	c.inits()
	c.wasi()
	c.malformed()
	c.contract()
	c.bombs()
	c.proposals()
	return c.cases
}

type corpus struct{ cases []Case }

func (c *corpus) add(row string, fate Fate, wasm []byte, name string, args ...any) *Case {
	c.cases = append(c.cases, Case{Name: fmt.Sprintf(name, args...), Row: row, Wasm: wasm, Fate: fate})
	return &c.cases[len(c.cases)-1]
}

// guest builds a plugin; make may import, and declare what the hook needs, and
// returns the hook's body for each record.
func guest(h abi.Hook, make func(g *w.Guest) []byte) []byte {
	g := new(w.Guest)
	body := make(g)
	g.EachRecord(h, abi.FieldKey|abi.FieldValue|abi.FieldTimestamp, body)
	return g.Bytes()
}

// onSend is guest for on_send with a body that needs nothing.
func onSend(body ...[]byte) []byte {
	return guest(abi.OnSend, func(*w.Guest) []byte { return w.Seq(body...) })
}

// whole is a plugin with one hook of which body is everything.
func whole(h abi.Hook, make func(g *w.Guest) []byte) []byte {
	g := new(w.Guest)
	body := make(g)
	g.Hook(h, abi.FieldKey|abi.FieldValue|abi.FieldTimestamp, body)
	return g.Bytes()
}

var hooks = []abi.Hook{abi.OnSend, abi.OnAcknowledgement, abi.OnConsume, abi.OnCommit, abi.Partition}

// op is an instruction by its bytes.
func op(b ...byte) []byte { return b }

// misc is an instruction behind the prefix 0xfc.
func misc(b ...byte) []byte { return append([]byte{0xfc}, b...) }

func i32(v int64) []byte { return w.I32Const(int32(v)) }

var (
	drop    = op(0x1a)
	forever = w.Seq(w.Loop, w.Br(0), w.End)
)
