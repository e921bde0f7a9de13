package produce

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

// A21: Close ends in every state, whatever the brokers do.
func TestA21_CloseEndsInEveryState(t *testing.T) {
	quiet := func(c *fakeConn) { io.Copy(io.Discard, c) }
	tests := []struct {
		name  string
		serve func(*fakeConn)
		setup func(*fakeNetwork)
		want  error // of the record
	}{
		{"broker reads nothing", func(c *fakeConn) { io.ReadFull(c, make([]byte, 10)) }, nil, klamm.ErrOutcomeUnknown},
		{"broker answers nothing", quiet, nil, klamm.ErrOutcomeUnknown},
		{"broker cannot be reached", quiet, func(n *fakeNetwork) { n.dialErr[1] = errors.New("no") }, klamm.ErrClosed},
		{"no leader", quiet, func(n *fakeNetwork) { n.leaders[0] = -1 }, klamm.ErrClosed},
		{"no producer id", quiet, func(n *fakeNetwork) { n.pidErr = errors.New("no") }, klamm.ErrClosed},
		{"fatal error", quiet, func(n *fakeNetwork) { n.pidErr = &klamm.BrokerError{Code: klamm.CodeProducerFenced} }, klamm.ErrFenced},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNetwork(t, 1)
				over := make(chan struct{})
				n.serve = func(c *fakeConn) { tt.serve(c); <-over }
				if tt.setup != nil {
					tt.setup(n)
				}
				h := newHistory()
				p, err := newPipeline(testConfig(linger(0)), n, h.complete, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := h.send(p, 0, 0, 1000); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				p.Close(ctx)
				if d := time.Since(start); d > time.Second {
					t.Errorf("Close took %s with a context of 1s", d)
				}
				if err := h.ends[0]; !errors.Is(err, tt.want) {
					t.Errorf("the record ended with %v, want %v", err, tt.want)
				}
				if err := p.Append(&Record{Topic: "t"}); !errors.Is(err, klamm.ErrClosed) {
					t.Errorf("Append after Close = %v", err)
				}
				if err := p.Reserve(t.Context(), 1, time.Now().Add(time.Minute)); err == nil {
					t.Error("Reserve after Close succeeded")
				}
				if err := p.Close(ctx); err != nil {
					t.Errorf("a second Close = %v", err)
				}
				close(over)
				n.stop()
			})
		})
	}
}

// An idle connection that the broker ends is replaced without a word, and
// without a backoff.
func TestIdleConnectionIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 1)
		n.serve = honest(0, nil)
		h := newHistory()
		p, err := newPipeline(testConfig(linger(0)), n, h.complete, nil)
		if err != nil {
			t.Fatal(err)
		}
		for ref := range uint64(5) {
			start := time.Now()
			if err := h.send(p, ref, 0, 8); err != nil {
				t.Fatal(err)
			}
			h.wait()
			if d := time.Since(start); d > 0 {
				t.Errorf("record %d took %s", ref, d)
			}
			n.conns[len(n.conns)-1].Close()
			time.Sleep(time.Minute)
		}
		if st := p.Stats(); st.ConnectionsFailed != 0 || st.ConnectionsOpened != 5 {
			t.Errorf("%d connections opened, %d failed; want 5 and 0", st.ConnectionsOpened, st.ConnectionsFailed)
		}
		end(t, p)
		n.stop()
	})
}

// A12: a broker that refuses everything is not asked more often than the
// backoff allows.
func TestA12_NoRetryStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 1)
		requests := 0
		n.serve = func(c *fakeConn) {
			for {
				r, err := c.read()
				if err != nil {
					return
				}
				requests++
				c.Write(encodeAnswer(r, []fakeAnswer{{code: klamm.CodeNotLeaderForPartition, offset: -1, leader: -1}}, 0))
			}
		}
		h := newHistory()
		p, err := newPipeline(testConfig(linger(0), func(c *config.Producer) {
			c.DeliveryTimeout, c.RequestTimeout = config.Duration(20*time.Second), config.Duration(10*time.Second)
		}), n, h.complete, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.send(p, 0, 0, 8); err != nil {
			t.Fatal(err)
		}
		h.wait()
		// 100, 200, 400 and 800 ms, then a second at most, each less a fifth.
		if requests < 15 || requests > 30 {
			t.Errorf("%d requests in 20s", requests)
		}
		if !errors.Is(h.ends[0], klamm.ErrTimeout) || errors.Is(h.ends[0], klamm.ErrOutcomeUnknown) {
			t.Errorf("the record ended with %v, want ErrTimeout: no broker has written it", h.ends[0])
		}
		if n.refreshes < requests-1 {
			t.Errorf("%d metadata refreshes for %d refusals", n.refreshes, requests)
		}
		end(t, p)
		n.stop()
	})
}
