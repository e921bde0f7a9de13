package host

import (
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// A record that waited in another lane for one that is tried again has its end: it
// fails, and counts as failed. Only the pipeline of the other one sends that again.
func TestTwinOfARecordThatIsTriedAgain(t *testing.T) {
	end := waiterEnd(new(slot), state.Resolution{Outcome: klamm.Failed, Err: errTriedAgain})
	if end.result.Outcome != klamm.Failed || end.result.Err != errTwinTriedAgain || handedBack(end.result.Err) {
		t.Errorf("it ends as %v, %v", end.result.Outcome, end.result.Err)
	}
}
