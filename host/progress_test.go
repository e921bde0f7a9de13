package host

import (
	"math/rand/v2"
	"testing"

	"github.com/klamm-io/klamm/state"
)

func TestProgressPositionWaitsForTheFirst(t *testing.T) {
	p := newProgress()
	if _, moved := p.toCommit(); moved {
		t.Fatal("nothing was read, but there is something to commit")
	}
	a, b, c := p.begin(10), p.begin(11), p.begin(15)
	p.done(c, 0)
	p.done(b, 0)
	if at, moved := p.toCommit(); moved {
		t.Fatalf("position %d passed a record that is not completed", at)
	}
	p.done(a, 0)
	if at, moved := p.toCommit(); !moved || at != 16 {
		t.Fatalf("position %d (moved %v), want 16", at, moved)
	}
}

func TestProgressNeverCommitsWhatIsOpen(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		p := newProgress()
		open := map[uint64]int64{}
		next := int64(rnd.IntN(1000))
		for range 300 {
			if len(open) == 0 || rnd.IntN(2) == 0 {
				open[p.begin(next)] = next
				next += 1 + int64(rnd.IntN(3)) // compacted topics have gaps
			} else {
				for number := range open {
					p.done(number, 0)
					delete(open, number)
					break
				}
			}
			at, _ := p.toCommit()
			for _, offset := range open {
				if at > offset {
					t.Fatalf("seed %d: position %d passes offset %d, which is not completed", seed, at, offset)
				}
			}
			if len(open) == 0 && at <= next-4 {
				t.Fatalf("seed %d: everything is completed up to %d, but position is %d", seed, next, at)
			}
		}
	}
}

func TestProgressConfirmsClaimsBelowTheCommit(t *testing.T) {
	p := newProgress()
	a, b := p.begin(1), p.begin(2)
	p.done(a, state.Ref(100))
	p.done(b, state.Ref(200))
	if got := p.confirm(2); len(got) != 1 || got[0].ref != 100 {
		t.Fatalf("commit of 2 confirms %v, want the claim of offset 1 alone", got)
	}
	if got := p.abandon(); len(got) != 1 || got[0].ref != 200 {
		t.Fatalf("abandoned %v, want the claim of offset 2 alone", got)
	}
}

func TestProgressGiveUp(t *testing.T) {
	p := newProgress()
	a, b := p.begin(1), p.begin(2)
	p.done(a, 0)
	if n := p.giveUp(); n != 1 {
		t.Fatalf("gave up %d records, want 1", n)
	}
	if counts, _ := p.done(b, 0); counts {
		t.Fatal("a record that was given up was completed afterwards: it would count twice")
	}
	select {
	case <-newProgress().drained():
	default:
		t.Fatal("an empty partition is not drained")
	}
}

func TestProgressSkips(t *testing.T) {
	p := newProgress()
	a := p.begin(5)
	p.skip(8) // markers at 6 and 7
	if _, moved := p.toCommit(); moved {
		t.Fatal("the position passed a record that is not completed")
	}
	p.done(a, 0)
	if at, _ := p.toCommit(); at != 8 {
		t.Fatalf("position %d, want 8, after the markers", at)
	}
}
