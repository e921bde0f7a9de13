package kafka

import (
	"maps"
	"slices"

	"github.com/klamm-io/klamm/state"
)

// What people see of a state is what this host has of it: the ids of the
// partitions that it reads.

var _ state.Inspector = (*Backend)(nil)

// inspect calls f for each partition that is read, in the order of their numbers.
func (b *Backend) inspect(f func(p *part, ids state.Inspector)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(b.parts)) {
		if p := b.parts[id]; p.phase == ready {
			f(p, p.window.Shown())
		}
	}
}

// names collects names of all partitions, each once.
func (b *Backend) names(of func(state.Inspector) []string) []string {
	all := map[string]bool{}
	b.inspect(func(_ *part, ids state.Inspector) {
		for _, name := range of(ids) {
			all[name] = true
		}
	})
	return slices.Sorted(maps.Keys(all))
}

// Plugins implements state.Inspector.
func (b *Backend) Plugins() []string { return b.names(state.Inspector.Plugins) }

// Topics implements state.Inspector.
func (b *Backend) Topics(plugin string) []string {
	return b.names(func(ids state.Inspector) []string { return ids.Topics(plugin) })
}

// Footprint implements state.Inspector.
func (b *Backend) Footprint() (bytes int64) {
	b.inspect(func(_ *part, ids state.Inspector) { bytes += ids.Footprint() })
	return bytes
}

// Lookup implements state.Inspector.
func (b *Backend) Lookup(plugin string, id state.ID) (r state.Remembered, ok bool) {
	b.inspect(func(_ *part, ids state.Inspector) {
		if found, here := ids.Lookup(plugin, id); here {
			r, ok = found, true
		}
	})
	return r, ok
}

// Forget takes an id out here at once. The topic is told in the next transaction;
// a host that is killed before that remembers the id again.
func (b *Backend) Forget(plugin string, id state.ID) (was bool) {
	b.inspect(func(p *part, ids state.Inspector) {
		if ids.Forget(plugin, id) {
			p.let(id)
			was = true
		}
	})
	return was
}

// Browse goes through one partition after the other, each from its oldest id to
// its newest. Ids of a partition that is revoked meanwhile are not met.
func (b *Backend) Browse() state.Browser {
	w := &browser{b: b}
	b.inspect(func(p *part, ids state.Inspector) {
		w.parts, w.walks = append(w.parts, p), append(w.walks, ids.Browse())
	})
	return w
}

// browser has a walk through each partition.
type browser struct {
	b     *Backend
	parts []*part
	walks []state.Browser
	at    int
}

// Next implements state.Browser.
func (w *browser) Next(n int, out []state.Remembered) []state.Remembered {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	for want := len(out) + n; w.at < len(w.walks); w.at++ {
		if w.parts[w.at].phase == ready {
			out = w.walks[w.at].Next(want-len(out), out)
		}
		if len(out) == want {
			break
		}
	}
	return out
}

// End implements state.Browser.
func (w *browser) End() {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	for i, walk := range w.walks {
		if w.parts[i].phase != restoring {
			walk.End()
		}
	}
}
