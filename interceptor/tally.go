package interceptor

import (
	"fmt"

	"github.com/klamm-io/klamm/sdk/abi"
)

const reasonCodes = int(abi.ReasonFirst) + abi.ReasonsMax

// tally counts a link's verdicts of one batch, so that metrics are told once.
type tally struct {
	verdicts [abi.Fail + 1]int
	drops    [reasonCodes]int
	dropped  int
}

func (t *tally) drop(reason uint16) {
	if int(reason) >= reasonCodes {
		reason = abi.ReasonOther
	}
	t.drops[reason]++
	t.dropped++
}

func (t *tally) report(m Metrics, p *place) {
	for code, n := range t.verdicts {
		if n > 0 {
			m.Verdict(p.link.Name, p.hook.String(), abi.Code(code).String(), n)
			t.verdicts[code] = 0
		}
	}
	if t.dropped == 0 {
		return
	}
	gen := p.guest.seat.generation()
	for code, n := range t.drops {
		if n > 0 {
			m.Drop(p.link.Name, reasonName(gen, uint16(code)), n)
			t.drops[code] = 0
		}
	}
	t.dropped = 0
}

func reasonName(gen *generation, code uint16) string {
	if gen != nil {
		if name := gen.reason(code); name != "" {
			return name
		}
	}
	return fmt.Sprintf("reason_%d", code)
}
