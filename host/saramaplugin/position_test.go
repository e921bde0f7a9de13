package saramaplugin

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/host"
)

// A script: "h5" hands message 5 on, "w5" lets it wait for a dead letter, "e5"
// ends that, "d5" drops it, "m5" is the handler's mark of offset 5 (the next to
// read), "r5" its reset.
func TestPosition(t *testing.T) {
	tests := []struct{ name, script, marks string }{
		{"a mark passes", "h0 h1 m1 m2", "1 2"},
		{"the first message is dropped", "d0 h1", "1"},
		{"all are dropped", "d0 d1 d2", "1 2 3"},
		{"dropped behind a handled one", "h0 m1 d1", "1 2"},
		{"dropped behind one that is not handled", "h0 d1 d2 h3", ""},
		{"then it is handled", "h0 d1 d2 h3 m1", "3"},
		{"one mark for many", "h0 d1 h2 d3 h4 d5 m5", "6"},
		{"nothing is marked twice", "h0 m1 m1 m0", "1"},
		{"a dead letter holds the marks back", "w0 h1 m2", ""},
		{"until it is written", "w0 h1 m2 e0", "2"},
		{"also in the middle", "h0 w1 h2 d3 m3 e1", "1 4"},
		{"written before those ahead of it are handled", "h0 w1 e1 m1", "2"},
		{"a mark beyond what was read", "h0 m9", "9"},
		{"gaps in the offsets", "h0 h7 d9 m1 m8", "1 10"},
		{"back and forth", "h0 h1 m2 r0 m1", "2 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var marks []string
			p := newPosition(func(next int64, _ string) { marks = append(marks, strconv.FormatInt(next, 10)) })
			p.settle = func(*host.ChainSeat, host.Completion) {}
			for _, step := range strings.Fields(tt.script) {
				p.step(t, step)
			}
			if got := strings.Join(marks, " "); got != tt.marks {
				t.Fatalf("%s: marked %q, want %q", tt.script, got, tt.marks)
			}
		})
	}
}

func (p *position) step(t *testing.T, step string) {
	t.Helper()
	var at int64
	if _, err := fmt.Sscan(step[1:], &at); err != nil {
		t.Fatal(err)
	}
	switch step[0] {
	case 'h':
		p.add(at, true, nil, host.Ticket{})
	case 'w':
		p.add(at, false, nil, host.Ticket{})
	case 'e':
		p.end(at, deadLettered(nil))
	case 'd':
		p.skip(at, nil, host.Ticket{}, deadLettered(nil))
	case 'm':
		p.markTo("t", 0, at, "")
	case 'r':
		p.resetTo(at)
	}
}
