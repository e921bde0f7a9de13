package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/klamm-io/klamm/runtime/meter"
	"github.com/tetratelabs/wazero/api"
)

// How a call is bounded in time is decided in this file alone. The meter has the
// guest count fuel and call yield whenever a slice is used up; there the clock is
// read. Most calls are shorter than a slice and never read it, and a guest that is
// stopped leaves the engine's instance open.

// starved is the part of the fuel that a processor burns in the time of a call
// below which the guest counts as not having run: a quarter. A busy machine or a
// throttled container must not look like a plugin that hangs.
const starved = 4

// callContext is the context of the calls of one instance, made once so that a
// call allocates nothing, and it is how host functions find their instance. It is
// never done and has no values, which the engine asks for at each call.
type callContext struct {
	context.Context
	in *instance
}

func (*callContext) Value(any) any { return nil }

// instanceOf returns the instance whose call ctx belongs to.
func instanceOf(ctx context.Context) *instance { return ctx.(*callContext).in }

// watch bounds the calls of one instance. fuel and depth are the globals that
// the meter added.
type watch struct {
	fuel, depth api.MutableGlobal
	deepest     uint64  // what depth starts with
	rate        float64 // fuel that a processor burns in a nanosecond

	// Of the running call.
	limit    time.Duration
	begun    time.Time // of the first look at the clock, zero before
	burned   int64     // since the first yield, notYielded before
	extended bool
	away     time.Duration // that others had the processor of a crowded process

	granted int64 // at the last yield
	pace    pace
}

const notYielded = -1

// bind finds the globals in a module that was just instantiated.
func (w *watch) bind(mod api.Module) error {
	fuel, ok := mod.ExportedGlobal(meter.FuelExport).(api.MutableGlobal)
	depth, ok2 := mod.ExportedGlobal(meter.DepthExport).(api.MutableGlobal)
	if !ok || !ok2 {
		return errors.New("the module is not metered")
	}
	w.fuel, w.depth, w.deepest = fuel, depth, depth.Get()
	w.pace.slice = sliceMost
	return nil
}

// start begins a call that may take so long. The depth is as it was: after a call
// that does not return normally comes rewind. The fuel is what the call before
// left over, as setting it takes as long as half of a call: so the first slice may
// be shorter than others, and what is burned in it does not count.
func (w *watch) start(limit time.Duration) {
	w.limit, w.begun, w.burned, w.extended = limit, time.Time{}, notYielded, false
}

// left is the time that the call still has. Where nobody has looked at the clock
// before, it has all of it. What waits in the host asks before it waits.
func (w *watch) left() time.Duration {
	if w.begun.IsZero() {
		w.begun = time.Now()
	}
	return w.limit - time.Since(w.begun)
}

// charge makes the guest pay for work of the host, so that it yields in time.
func (w *watch) charge(units int) { w.fuel.Set(w.fuel.Get() - uint64(units)) }

// yield ends the call with a trap if its time is over, and gives it another
// slice if not. A guest that had little of the processor gets its time anew, once,
// and what it gave up to others on top, up to as much again.
func (w *watch) yield() {
	now := time.Now()
	if w.begun.IsZero() {
		w.begun = now
	}
	if w.burned == notYielded {
		w.burned, w.away = 0, 0
		w.pace.begin(now)
	} else {
		w.burned += w.granted - int64(w.fuel.Get())
		w.pace.adapt(now)
	}
	if spent := now.Sub(w.begun); spent >= w.limit {
		if w.extended || float64(w.burned) >= w.rate*float64(w.limit)/starved {
			panic(lateTrap{})
		}
		w.extended = true
		// From now on: a machine that stood still may be far beyond the limit.
		w.limit = spent + w.limit + min(w.away, w.limit)
	}
	w.breathe(now)
	w.granted = w.pace.slice
	w.fuel.Set(uint64(w.granted))
}

// crowded is how long others must have had the processor for it to be no short
// errand: nearly the time slice of one that computes. What collections and the
// network take is shorter.
const crowded = breathMost * 4 / 5

// breathe lets others run, and notes how long a crowded process kept the guest
// from going on.
func (w *watch) breathe(now time.Time) {
	if away := w.pace.breathe(now); away >= crowded {
		w.away += away
	}
}

// nested reports whether the call was ended for nesting too deeply.
func (w *watch) nested() bool { return w.depth != nil && int32(w.depth.Get()) < 0 }

// rewind forgets the calls that did not return. It reports whether they nested
// too deeply.
func (w *watch) rewind() (nested bool) {
	nested = w.nested()
	w.depth.Set(w.deepest)
	return nested
}

// lateTrap ends a call whose deadline has passed.
type lateTrap struct{}

func (lateTrap) Error() string { return "deadline exceeded" }

// yieldCall is the function that the meter imports.
func yieldCall(ctx context.Context, _ api.Module, _ []uint64) { instanceOf(ctx).watch.yield() }
