package produce

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Why there is no producer id is told as long as there is none, and not later as
// the cause of something else.
func TestStuckEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 1)
		n.pidErr = errors.New("no")
		n.serve = func(c *fakeConn) { io.Copy(io.Discard, c) }
		h := newHistory()
		p, err := newPipeline(testConfig(linger(0)), n, h.complete, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.send(p, 0, 0, 10); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := p.stuck.Load(); err == nil || !strings.HasSuffix((*err).Error(), ": no") {
			t.Errorf("without a producer id: %v", err)
		}
		n.mu.Lock()
		n.pidErr = nil
		n.mu.Unlock()
		time.Sleep(time.Minute)
		if err := p.stuck.Load(); err != nil {
			t.Errorf("with a producer id: %v", *err)
		}

		trouble := errors.New("the coordinator is away")
		p.stuck.Store(&trouble)
		m := &transactions{p: p}
		m.answered()
		if err := p.stuck.Load(); err != nil {
			t.Errorf("with an answer of the coordinator: %v", *err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p.Close(ctx)
		n.stop()
	})
}
