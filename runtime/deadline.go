package runtime

import (
	"context"
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

// callContext is the context of every call of one instance. It is made once, so
// that a call allocates nothing, and it is how host functions find their
// instance. Once a deadline has passed it stays done, and the instance with it.
type callContext struct {
	context.Context // values
	in              *instance
	done            chan struct{}
	timer           *time.Timer
	passed          atomic.Bool
}

func newCallContext(parent context.Context, in *instance) *callContext {
	c := &callContext{Context: parent, in: in, done: make(chan struct{})}
	c.timer = time.AfterFunc(time.Hour, func() {
		c.passed.Store(true)
		close(c.done)
	})
	c.timer.Stop()
	return c
}

// start sets the deadline of the call that begins now.
func (c *callContext) start(limit time.Duration) { c.timer.Reset(limit) }

// stop ends the call and reports whether its deadline has passed. Then the
// module may be closed at any moment, even if the call itself came back in time:
// do not use the instance again.
func (c *callContext) stop() (passed bool) { return !c.timer.Stop() }

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
