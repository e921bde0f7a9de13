package interceptor

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

// downBackend answers nothing, as one whose disk is full.
type downBackend struct{ state.Backend }
type downBucket struct{ state.Bucket }

var errDown = fmt.Errorf("ids.state: %w: no space left on device", state.ErrUnavailable)

func (d downBackend) Bucket(plugin string) state.Bucket { return downBucket{d.Backend.Bucket(plugin)} }
func (downBucket) Find(state.ID, int64) (state.Position, bool, error) {
	return state.Position{}, false, errDown
}

// A state that cannot answer is the failure of nobody's module: the record gets
// the policy with the state's own error, the breaker and the search for a culprit
// stay out of it, and with on_unavailable = "pass" the record passes.
func TestStateUnavailable(t *testing.T) {
	for _, pass := range []bool{false, true} {
		t.Run(fmt.Sprint("pass ", pass), func(t *testing.T) {
			l := state.NewLedger(state.Options{})
			if err := l.OpenBackend("ids", downBackend{state.NewMemory(1, 1)}, state.StoreConfig{Pass: pass}); err != nil {
				t.Fatal(err)
			}
			space, err := l.Space("ids", "p", state.SpaceOptions{})
			if err != nil {
				t.Fatal(err)
			}
			calls := 0
			s := &fakeSeat{onSend: func(c *fakeCall) error {
				calls++
				for i := range c.b.Len() {
					if got := c.host.Claim(i, c.b.Key(i), 0); got != abi.ClaimNew {
						return trap() // what an SDK makes of it
					}
				}
				return nil
			}}
			link := s.link("p")
			link.Space = space
			m := &counts{}
			lane := chainOf(t, ChainConfig{OnSend: []Link{link}, Metrics: m})
			b := batchOf("a", "b", "c")
			lane.OnSend(t.Context(), b)
			if calls != 1 {
				t.Errorf("%d calls", calls)
			}
			for i := range b.Items {
				it := &b.Items[i]
				if pass && it.Outcome != klamm.InFlight {
					t.Errorf("record %d: %v", i, it.Err)
				}
				if !pass && (!errors.Is(it.Err, state.ErrUnavailable) || !strings.Contains(it.Err.Error(), "no space left")) {
					t.Errorf("record %d: got %v", i, it.Err)
				}
			}
			if got := m.get("fault p on_send state"); (got == 0) != pass {
				t.Errorf("%d faults counted", got)
			}
			if got := l.Stats()[0].Bypassed; (got == 3) != pass {
				t.Errorf("%d bypassed", got)
			}
		})
	}
}
