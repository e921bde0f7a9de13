package interceptor

import "github.com/klamm-io/klamm/sdk/abi"

// tally counts a link's verdicts of one batch, so that metrics are told once.
type tally struct {
	verdicts [abi.Fail + 1]int
	drops    []dropCount
}

type dropCount struct {
	code uint16
	name string
	n    int
}

// drop counts a drop for a reason, which may have another name in another
// version of the plugin.
func (t *tally) drop(code uint16, name string) {
	for i := range t.drops {
		if d := &t.drops[i]; d.code == code && d.name == name {
			d.n++
			return
		}
	}
	t.drops = append(t.drops, dropCount{code, name, 1})
}

func (t *tally) report(m Metrics, p *place) {
	for code, n := range t.verdicts {
		if n > 0 {
			m.Verdict(p.link.Name, p.hook.String(), abi.Code(code).String(), n)
			t.verdicts[code] = 0
		}
	}
	for _, d := range t.drops {
		m.Drop(p.link.Name, d.name, d.n)
	}
	t.drops = t.drops[:0]
}
