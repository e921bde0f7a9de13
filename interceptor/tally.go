package interceptor

import (
	"fmt"

	"github.com/klamm-io/klamm/sdk/abi"
)

// tally counts a link's verdicts of one batch, so that metrics are told once.
type tally struct {
	verdicts [abi.Fail + 1]int
	drops    []dropCount
}

type dropCount struct {
	reason uint16
	n      int
}

func (t *tally) drop(reason uint16) {
	for i := range t.drops {
		if t.drops[i].reason == reason {
			t.drops[i].n++
			return
		}
	}
	t.drops = append(t.drops, dropCount{reason, 1})
}

func (t *tally) report(m Metrics, p *place) {
	for code, n := range t.verdicts {
		if n > 0 {
			m.Verdict(p.link.Name, p.hook.String(), abi.Code(code).String(), n)
			t.verdicts[code] = 0
		}
	}
	for _, d := range t.drops {
		m.Drop(p.link.Name, reasonName(p.guest.seat.generation(), d.reason), d.n)
	}
	t.drops = t.drops[:0]
}

func reasonName(gen *generation, code uint16) string {
	if gen != nil {
		if name := gen.reason(code); name != "" {
			return name
		}
	}
	return fmt.Sprintf("reason_%d", code)
}
