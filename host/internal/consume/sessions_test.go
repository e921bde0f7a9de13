package consume

import "testing"

func TestSessions(t *testing.T) {
	tests := []struct {
		name        string
		generation  int32
		member      string
		cooperative bool
		follows     bool
	}{
		{"the next generation", 6, "m", false, true},
		{"the same one: a static member joins again", 5, "m", false, true},
		{"one in which it was not", 7, "m", false, false},
		{"a group that begins anew", 1, "m", false, false},
		{"the next generation, as another member", 6, "n", false, false},
		{"the same generation, as another member", 5, "n", false, false},
		{"cooperative", 6, "m", true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s sessions
			s.begin(identity{5, "m"}, tt.cooperative)
			last := s.number
			s.begin(identity{tt.generation, tt.member}, tt.cooperative)
			if got := s.number == last+1; got != tt.follows {
				t.Errorf("numbers %d and %d: consecutive %t, want %t", last, s.number, got, tt.follows)
			}
			last = s.number
			if s.begin(identity{tt.generation, tt.member}, false); s.number != last+1 {
				t.Errorf("numbers %d and %d after it", last, s.number)
			}
		})
	}
}

// The numbers of real sessions: a member that stays while another one joins and
// leaves has consecutive ones; one that was put out has not.
func TestSessionsOfAGroup(t *testing.T) {
	x := newBench(t, 4, 1, "t")
	cfg := kinds("sticky")["sticky"]
	a := x.join(t, newRecorder("a"), cfg, "g", "a", "t")
	a.wait(t, "all partitions", func() bool { return len(a.parts) == 4 })
	first := a.group.Session()
	b := x.join(t, newRecorder("b"), cfg, "g", "", "t")
	b.wait(t, "half of the partitions", func() bool { return len(b.parts) == 2 })
	a.wait(t, "the other half", func() bool { return len(a.parts) == 2 })
	second := a.group.Session()
	if second != first+1 {
		t.Errorf("session %d after %d, though nobody had its partitions meanwhile", second, first)
	}
	if err := PutOut(testContext(t), x.cluster, "g", "a"); err != nil {
		t.Fatal(err)
	}
	a.wait(t, "the loss", func() bool { return a.lost == 1 })
	a.wait(t, "half of the partitions again", func() bool { return len(a.parts) == 2 })
	if third := a.group.Session(); third <= second+1 {
		t.Errorf("session %d after %d, though all was another's meanwhile", third, second)
	}
}
