package produce

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

// TestC081_AbortIncompleteBatches: 100 records, some of them on their way, and the
// producer is closed at once. Each has one completion that says why, and all
// memory is back.
func TestC081_AbortIncompleteBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 3)
		over := make(chan struct{})
		n.serve = func(c *fakeConn) { // reads, and answers nothing
			for {
				if _, err := c.read(); err != nil {
					break
				}
			}
			<-over
		}
		h := newHistory()
		p, err := newPipeline(testConfig(linger(time.Millisecond), func(c *config.Producer) { c.BatchSize, c.MaxInFlight = 1000, 1 }), n, h.complete, nil)
		if err != nil {
			t.Fatal(err)
		}
		for ref := range uint64(100) {
			if err := h.send(p, ref, int32(ref%2), 100); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		at, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		if err := p.Close(at); err == nil {
			t.Error("Close gave records up and reported no error")
		}
		var unknown, failed int
		for ref := range uint64(100) {
			switch err := h.ends[ref]; {
			case errors.Is(err, klamm.ErrOutcomeUnknown):
				unknown++
			case errors.Is(err, klamm.ErrClosed):
				failed++
			default:
				t.Errorf("record %d ended with %v", ref, err)
			}
		}
		if unknown == 0 || failed == 0 || len(h.twice) > 0 {
			t.Errorf("%d records were on their way, %d were not, %d completed twice", unknown, failed, len(h.twice))
		}
		if free := p.mem.free.Load(); free != p.mem.total {
			t.Errorf("%d bytes of %d are free", free, p.mem.total)
		}
		close(over)
		n.stop()
	})
}
