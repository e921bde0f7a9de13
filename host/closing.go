package host

import (
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
)

// closing runs a Close once. Whoever calls it again waits for the first and gets
// its error, but for a callback: the first waits for callbacks.
type closing struct {
	once  sync.Once
	ended chan struct{}
	err   error
}

// begin runs before anybody returns.
func (c *closing) do(fromCallback bool, begin func(), f func() error) error {
	c.once.Do(func() {
		c.ended = make(chan struct{})
		begin()
		go func() {
			defer close(c.ended)
			c.err = f()
		}()
	})
	if fromCallback {
		return nil
	}
	<-c.ended
	return c.err
}

// notifying is the goroutine that runs callbacks, while it does.
type notifying struct {
	goroutine string
	busy      atomic.Bool
}

// isCaller reports whether it is called from a callback.
func (n *notifying) isCaller() bool { return n.busy.Load() && n.goroutine == goroutineID() }

// goroutineID is the number in the first line of a goroutine's stack, "goroutine
// 18 [running]:". Go has no other way to tell a callback that would wait for
// itself.
func goroutineID() string {
	var b [64]byte
	text := string(b[:goruntime.Stack(b[:], false)])
	id, _, _ := strings.Cut(strings.TrimPrefix(text, "goroutine "), " ")
	return id
}
