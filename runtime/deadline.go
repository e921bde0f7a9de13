package runtime

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
)

// How a call is bounded in time is decided in this file alone. The engine looks
// at the module's closed flag at each loop head, and a goroutine of its own sets
// the flag when the call's context is done. That costs about 0.3 us and 3
// allocations a call, makes loops slower, and the instance is lost; a call whose
// deadline passes in a host function ends when that returns.

// stoppable makes the engine watch the contexts of calls.
func stoppable(c wazero.RuntimeConfig, yes bool) wazero.RuntimeConfig {
	return c.WithCloseOnContextDone(yes)
}

// callContext is the context of the calls of one instance, made once so that a
// call allocates nothing, and it is how host functions find their instance. Once
// a deadline has passed it stays done, and the instance with it.
//
// A call whose time is over gets as much again, once, if the whole process had
// little of the processor meanwhile: a busy machine or a throttled container must
// not look like a plugin that hangs. The second half of the time is what is
// measured, so that short calls pay nothing for it.
type callContext struct {
	context.Context // values
	in              *instance
	done            chan struct{}
	passed          atomic.Bool
	timer           *time.Timer

	mu      sync.Mutex
	running bool
	limit   time.Duration
	stage   stage
	cpu     time.Duration // of the process, when half of the time was over
}

// stage is what the timer waits for.
type stage uint8

const (
	firstHalf stage = iota
	secondHalf
	extraTime
)

// starved is the part of one processor below which a process counts as not
// having run.
const starved = 4 // a quarter

// processCPU is the processor time that the process has used; a variable so
// that tests can starve it.
var processCPU = usedCPU

func newCallContext(parent context.Context, in *instance) *callContext {
	c := &callContext{Context: parent, in: in, done: make(chan struct{})}
	c.timer = time.AfterFunc(time.Hour, c.fire)
	c.timer.Stop()
	return c
}

// start sets the deadline of the call that begins now.
func (c *callContext) start(limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running, c.limit, c.stage = true, limit, firstHalf
	c.timer.Reset(limit / 2)
}

// fire is called when the timer's time is over.
func (c *callContext) fire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running {
		return
	}
	rest := c.limit - c.limit/2
	switch {
	case c.stage == firstHalf:
		c.stage, c.cpu = secondHalf, processCPU()
		c.timer.Reset(rest)
	case c.stage == secondHalf && processCPU()-c.cpu < rest/starved:
		c.stage = extraTime
		c.timer.Reset(c.limit)
	default:
		c.passed.Store(true)
		close(c.done)
	}
}

// stop ends the call. If its deadline has passed the module may be closed at any
// moment, even if the call itself came back in time: do not use the instance
// again. If fire may still be on its way, from a timer that ran out just now, the
// context must not be used again.
func (c *callContext) stop() (passed, renew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = false
	renew = !c.timer.Stop()
	return c.passed.Load(), renew
}

// Done and Err are those of a context with a deadline.
func (c *callContext) Done() <-chan struct{} { return c.done }

func (c *callContext) Err() error {
	if c.passed.Load() {
		return context.DeadlineExceeded
	}
	return nil
}

// instanceOf returns the instance whose call ctx belongs to.
func instanceOf(ctx context.Context) *instance { return ctx.(*callContext).in }

// endCall ends the call that in.ctx.start began.
func (in *instance) endCall() (passed bool) {
	passed, renew := in.ctx.stop()
	if renew && !passed {
		in.ctx = newCallContext(context.Background(), in)
	}
	return passed
}
