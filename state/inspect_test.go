package state_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// inspected are the backends that show what they remember.
func inspected(t *testing.T, test func(t *testing.T, cfg state.StoreConfig)) {
	for _, backend := range []string{"memory", "file"} {
		t.Run(backend, func(t *testing.T) {
			cfg := state.StoreConfig{Backend: backend, ScopeTopic: true}
			if backend == "file" {
				cfg.Path = filepath.Join(t.TempDir(), "ids.state")
			}
			test(t, cfg)
		})
	}
}

// write claims an id and has its record written.
func write(t *testing.T, l *state.Ledger, s *state.Space, ref state.Ref, topic, id string, offset int64) {
	t.Helper()
	if a := s.Claim(ref, topic, []byte(id), time.Hour, l.NowMS()); a.Code != state.New {
		t.Fatalf("claim of %q: %+v", id, a)
	}
	l.Settle(ref, state.Settlement{Outcome: klamm.Written, At: state.Position{Topic: topic, Offset: offset}})
}

func lookup(t *testing.T, l *state.Ledger, q state.Query) []state.Known {
	t.Helper()
	found, err := l.Lookup("ids", q)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestLookupAndForget(t *testing.T) {
	inspected(t, func(t *testing.T, cfg state.StoreConfig) {
		l, s := open(t, cfg, state.SpaceOptions{})
		other := space(t, l, "ids", "other", state.SpaceOptions{})
		write(t, l, s, 1, "orders", "a", 7)
		write(t, l, s, 2, "returns", "a", 8)
		write(t, l, other, 3, "orders", "a", 9)
		s.Claim(4, "orders", []byte("b"), time.Hour, l.NowMS())

		for _, tt := range []struct {
			name string
			q    state.Query
			want string
		}{
			{"by name", state.Query{ID: []byte("a"), Plugin: "dedup", Topic: "orders"}, "[dedup orders orders/0/7]"},
			{"in any topic", state.Query{ID: []byte("a"), Plugin: "dedup"}, "[dedup orders orders/0/7 dedup returns returns/0/8]"},
			{"of any plugin", state.Query{ID: []byte("a"), Topic: "orders"}, "[dedup orders orders/0/7 other orders orders/0/9]"},
			{"in flight", state.Query{ID: []byte("b")}, "[dedup orders pending]"},
			{"unknown", state.Query{ID: []byte("c")}, "[]"},
			{"unknown topic", state.Query{ID: []byte("a"), Topic: "nowhere"}, "[]"},
			{"unknown plugin", state.Query{ID: []byte("a"), Plugin: "nobody"}, "[]"},
		} {
			if got := told(lookup(t, l, tt.q)); got != tt.want {
				t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
			}
		}

		if _, err := l.Forget("ids", state.Query{ID: []byte("b")}); !errors.Is(err, state.ErrInFlight) {
			t.Errorf("an id in flight is forgotten: %v", err)
		}
		gone, err := l.Forget("ids", state.Query{ID: []byte("a"), Plugin: "dedup", Topic: "orders"})
		if err != nil || told(gone) != "[dedup orders orders/0/7]" {
			t.Errorf("forgotten: %s, error %v", told(gone), err)
		}
		if got := told(lookup(t, l, state.Query{ID: []byte("a")})); got != "[dedup returns returns/0/8 other orders orders/0/9]" {
			t.Errorf("after that there is %s", got)
		}
		if a := s.Claim(5, "orders", []byte("a"), time.Hour, l.NowMS()); a.Code != state.New {
			t.Errorf("a record with a forgotten id: %+v", a)
		}
		if _, err := l.Lookup("gone", state.Query{}); err == nil {
			t.Error("a state that is not there answers")
		}
	})
}

func told(known []state.Known) string {
	var all []string
	for _, k := range known {
		at := k.At.String()
		if k.Pending {
			at = "pending"
		}
		all = append(all, fmt.Sprint(k.Plugin, " ", k.Topic, " ", at))
	}
	return fmt.Sprint(all)
}

// What was forgotten stays forgotten when the file is opened again.
func TestForgottenInTheFileToo(t *testing.T) {
	cfg := state.StoreConfig{Backend: "file", Path: filepath.Join(t.TempDir(), "ids.state")}
	for run := range 2 {
		l := state.NewLedger(state.Options{})
		if err := l.Open("ids", cfg); err != nil {
			t.Fatal(err)
		}
		if run == 0 {
			s := space(t, l, "ids", "dedup", state.SpaceOptions{})
			for i := range 100 {
				write(t, l, s, state.Ref(i+1), "t", fmt.Sprint(i), int64(i))
			}
			if gone, err := l.Forget("ids", state.Query{ID: []byte("42")}); err != nil || len(gone) != 1 {
				t.Fatalf("forgot %v, error %v", gone, err)
			}
		}
		// No space is open in the second run: the plugins are the file's.
		for i, want := range map[int]int{41: 1, 42: 0, 43: 1} {
			if found := lookup(t, l, state.Query{ID: fmt.Append(nil, i)}); len(found) != want {
				t.Errorf("run %d, id %d: %+v", run, i, found)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Ids come and go while they are browsed. One that was there from the beginning
// to the end is met once; none is met twice.
func TestEachMeetsWhatStays(t *testing.T) {
	inspected(t, func(t *testing.T, cfg state.StoreConfig) {
		l, s := open(t, cfg, state.SpaceOptions{})
		const n = 2000
		ids := map[state.ID]int{}
		for i := range n {
			write(t, l, s, state.Ref(i+1), "t", fmt.Sprint(i), int64(i))
			ids[lookup(t, l, state.Query{ID: fmt.Append(nil, i)})[0].ID] = i
		}
		random := rand.New(rand.NewPCG(1, 2))
		gone, met, last := map[int]bool{}, map[int]int{}, int64(-1)
		err := l.Each("ids", func(r *state.Remembered) error {
			if r.At.Offset <= last || r.Plugin != "dedup" || r.At.Topic != "t" {
				t.Errorf("%+v after offset %d", r, last)
			}
			last = r.At.Offset
			if i, old := ids[r.ID]; old {
				met[i]++
			}
			i := random.IntN(n)
			if forgot, err := l.Forget("ids", state.Query{ID: fmt.Append(nil, i)}); err != nil {
				return err
			} else if len(forgot) > 0 {
				gone[i] = true
			}
			if more := len(gone); more%3 == 0 && more < n/4 {
				ref := state.Ref(10*n + len(met))
				write(t, l, s, ref, "t", fmt.Sprint("new", ref), int64(ref))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if met[i] > 1 || met[i] == 0 && !gone[i] {
				t.Errorf("id %d was met %d times, forgotten %v", i, met[i], gone[i])
			}
		}
		if stop := errors.New("stop"); l.Each("ids", func(*state.Remembered) error { return stop }) != stop {
			t.Error("an error of the caller's does not end it")
		}
		if l.Footprint("ids") < int64(n-len(gone))*48 {
			t.Errorf("%d bytes", l.Footprint("ids"))
		}
	})
}
