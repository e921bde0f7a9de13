package interceptor

import "github.com/klamm-io/klamm/runtime"

var _ runtime.Rewinder = (*guestHost)(nil)

// Rewind takes back what the running call did: the guest is called again for
// the same records, with more room for its edits.
func (h *guestHost) Rewind() {
	if t := h.tx; t != nil {
		t.undoFrom(0)
		t.begin(t.items, t.acks, t.space, t.nowMS)
	}
}
