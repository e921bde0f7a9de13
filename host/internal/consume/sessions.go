package consume

// sessions numbers a member's sessions. Two of them have consecutive numbers if no
// other member can have had, between them, a partition that this one has in both:
// the generation is the same, or the next one, and the coordinator knows the member
// by the same id. Every assignment has a generation, and a member that was put out
// or replaced gets another id. Elsewhere a number is left out.
//
// Cooperative sessions last through rebalances, in which partitions go and come
// back: theirs are never consecutive.
type sessions struct {
	number int64
	identity
}

func (s *sessions) begin(who identity, cooperative bool) {
	s.number++
	follows := who.member == s.member && (who.generation == s.generation || who.generation == s.generation+1)
	if !follows || cooperative {
		s.number++
	}
	s.identity = who
}

// Session returns the number of the member's session, or of its last one. A
// partition that was revoked in the session before this number, and not lost, and
// that is assigned in this one, was nobody else's meanwhile. With KIP-848 it is
// always 0: what is to stay is not revoked.
func (g *Group) Session() int64 { return g.member.turn() }

func (m *classic) turn() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sessions.number
}

func (m *heart) turn() int64 { return 0 }
