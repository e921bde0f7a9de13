package state

// walk goes through the ids from the oldest to the newest while others come and
// go: it meets every id that stays, once.
type walk struct {
	m    *memory
	next uint32 // slot, 0 at the end
}

func (m *memory) walk() *walk {
	w := &walk{m: m, next: m.tail}
	m.walks = append(m.walks, w)
	return w
}

// step returns the next entry, or nil at the end. One that is confirmed after
// that is not met.
func (w *walk) step() *entry {
	m := w.m
	for w.next != 0 {
		if w.next != m.head && !m.live(w.next) { // it went meanwhile
			w.next = m.tail
		}
		if w.next == m.head {
			w.next = 0
			break
		}
		e := m.at(w.next)
		w.next = after(w.next)
		if e.origin != noOrigin {
			return e
		}
	}
	return nil
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
