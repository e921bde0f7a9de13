package host

import (
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/interceptor"
)

// A handler that changes its record changes nothing of what is tried again or put
// aside, and a record is copied once for that at the most.
func TestHandlersOwnRecord(t *testing.T) {
	for _, tt := range []struct {
		name            string
		plugins         bool // the record came in a block
		retries         bool
		deadLetterTopic string
		copies          int
	}{
		{"plain", false, false, "", 0},
		{"plain, retries", false, true, "", 1},
		{"plain, dead letters", false, false, "dead", 1},
		{"plugins", true, false, "", 0},
		{"plugins, retries", true, true, "", 1},
		{"plugins, dead letters", true, false, "dead", 1},
		{"plugins, both", true, true, "dead", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			read := klamm.Record{Key: []byte("key"), Value: []byte("value"), Headers: []klamm.Header{{Key: "h", Value: []byte("v")}}}
			d, it := &delivery{read: &read}, &interceptor.Item{}
			if tt.plugins {
				d.read, it.Record = nil, read
			}
			if tt.retries {
				d.again = new(retrial)
			}
			c := &Consumer{deadLetters: tt.deadLetterTopic}
			own := c.own(d, it)
			copies := 0
			for _, rec := range []*klamm.Record{own, d.read} {
				if rec != nil && &rec.Value[0] != &read.Value[0] {
					copies++
				}
			}
			if copies != tt.copies {
				t.Errorf("%d copies, want %d", copies, tt.copies)
			}
			if string(own.Value) != "value" || tt.copies > 0 && (own == d.read || &own.Value[0] == &d.read.Value[0]) {
				t.Errorf("the handler has %q, kept is %+v", own.Value, d.read)
			}
		})
	}
}
