package state

// walk goes through the ids from the oldest to the newest while others come and
// go: it meets every id that stays, once.
type walk struct {
	m    *memory
	next uint32 // slot, 0 at the end
}

func (m *memory) walk() *walk {
	w := &walk{m: m, next: m.oldest}
	m.walks = append(m.walks, w)
	return w
}

// step returns the next entry, or nil at the end. One that is confirmed after
// that is not met.
func (w *walk) step() *entry {
	if w.next == 0 {
		return nil
	}
	e := w.m.at(w.next)
	w.next = e.next
	return e
}

// end is called once.
func (w *walk) end() {
	for i, other := range w.m.walks {
		if other == w {
			w.m.walks = append(w.m.walks[:i], w.m.walks[i+1:]...)
			return
		}
	}
}

// passOver keeps walks off an entry that is about to go.
func (m *memory) passOver(slot uint32) {
	for _, w := range m.walks {
		if w.next == slot {
			w.next = m.at(slot).next
		}
	}
}
