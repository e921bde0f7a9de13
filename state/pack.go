package state

// pack closes the holes of a window, so that ids that went out of its middle take
// no memory for long. It goes from the newest entry to the oldest and moves each one
// up to where the last one stands: a few entries for each new hole.
type pack struct {
	on   bool
	next uint32 // the entry that is looked at
	to   uint32 // where it goes; between both are holes
}

const (
	packSteps = 16
	// A window has fewer holes than a quarter of its ids, and these.
	packHoles = chunkEntries
)

// packSome is called when there is a new hole.
func (m *memory) packSome() {
	p := &m.pack
	if len(m.walks) > 0 { // they would meet what is moved a second time
		return
	}
	if !p.on {
		if m.holes < m.max/4+packHoles {
			return
		}
		last := before(m.head)
		p.on, p.next, p.to = true, last, last
	}
	for range packSteps {
		if !m.live(p.next) {
			m.packed()
			return
		}
		if e := m.at(p.next); e.origin != noOrigin {
			if p.to != p.next {
				m.lift(p.next, p.to)
			}
			p.to = before(p.to)
		}
		if p.next == m.tail {
			m.packed()
			return
		}
		p.next = before(p.next)
	}
}

// lift moves an entry into a hole.
func (m *memory) lift(from, to uint32) {
	e, hole := m.at(from), m.at(to)
	*hole = *e
	m.ids.part(&hole.id).move(&hole.id, from, to, 0)
	if m.displaced(from) {
		m.displace(to)
	}
	e.origin = noOrigin
	e.id[0] = ^e.id[0]
}

// packed is the end: what is left of the tail is holes.
func (m *memory) packed() {
	m.pack.on = false
	if !m.empty() && m.at(m.tail).origin == noOrigin {
		m.holes--
		m.pop()
	}
}
