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

// What is begun together is numbered as if it were begun one by one, and what is
// taken back leaves nothing behind.
func TestProgressBeginsAndTakesBack(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		p := newProgress()
		open := map[uint64]int64{}
		next := int64(rnd.IntN(1000))
		for range 100 {
			ds := make([]delivery, 1+rnd.IntN(20))
			for i := range ds {
				ds[i].offset = next + int64(i)
			}
			p.beginAll(ds)
			back := rnd.IntN(len(ds) + 1)
			p.takeBack(back)
			ds = ds[:len(ds)-back]
			for i := range ds {
				open[ds[i].number] = ds[i].offset
			}
			next += int64(len(ds))
			for number := range open {
				if rnd.IntN(2) == 0 {
					p.done(number, 0)
					delete(open, number)
				}
			}
			if got := p.inFlight(); got != len(open) {
				t.Fatalf("seed %d: %d are in flight, want %d", seed, got, len(open))
			}
			first := next
			for _, offset := range open {
				first = min(first, offset)
			}
			if at, _ := p.toCommit(); at > first || at >= 0 && len(open) == 0 && at != next {
				t.Fatalf("seed %d: position %d, the first that is open is %d", seed, at, first)
			}
		}
	}
}

// A parcel's deliveries end once each, in any order, and only then is it used again.
func TestParcelIsUsedAgainAfterTheLast(t *testing.T) {
	p := newParcel(3)
	first := &p.deliveries[0]
	p.ended(1)
	p.ended(0)
	if q := newParcel(3); q == p {
		t.Fatal("a parcel with deliveries under way is used again")
	}
	p.ended(2)
	if first.in != p || first.finished == nil {
		t.Error("a delivery does not know its parcel any more")
	}
	p.ended(0)
	if a, b := newParcel(1), newParcel(1); a == b {
		t.Error("a parcel is used twice at once")
	}
}
