package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm/bench/internal/guests"
	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/bench/internal/peer"
	"github.com/klamm-io/klamm/bench/internal/rounds"
	"github.com/klamm-io/klamm/bench/internal/rows"
	"github.com/klamm-io/klamm/bench/internal/workload"
)

func load(tb testing.TB, languages ...string) *guests.Set {
	tb.Helper()
	root, err := guests.Root()
	if err != nil {
		tb.Fatal(err)
	}
	set, err := guests.Load(tb.Context(), root, cacheDir(), languages, io.Discard)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

// TestRows runs everything there is a guest for, for a moment, which also checks
// all results, and looks at the rows.
func TestRows(t *testing.T) {
	if testing.Short() {
		t.Skip("builds guests")
	}
	p := plan{ops: ops.All(), batches: []int{1, 64}, sizes: []int{200}, rounds: rounds.Config{Rounds: 1, Time: time.Microsecond}}
	measured, err := measure(t.Context(), p, load(t, guests.Languages...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := rows.WriteJSON(&out, measured); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		r := decode(t, line)
		key := fmt.Sprint(r.Impl, " ", r.Guest, " ", r.Op, " ", r.Batch)
		if seen[key] {
			t.Errorf("row %s comes twice", key)
		}
		seen[key] = true
	}
	for _, op := range ops.All() {
		for _, impl := range []string{"klamm", "klamm-unmetered", "native", "extism", "go-plugin", "reflection", "close-on-done"} {
			for _, batch := range []int{1, 64} {
				if key := fmt.Sprint(impl, " go ", op, " ", batch); !seen[key] {
					t.Errorf("no row %s", key)
				}
			}
		}
	}
}

// decode checks that a line has exactly the members of a row.
func decode(t *testing.T, line string) rows.Row {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(line), &members); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"impl", "guest", "op", "batch", "size", "ns_per_record", "allocs_per_record"} {
		if _, ok := members[name]; !ok {
			t.Errorf("no %q in %s", name, line)
		}
		delete(members, name)
	}
	if len(members) > 0 {
		t.Errorf("%v is too much in %s", members, line)
	}
	var r rows.Row
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	return r
}

// TestLargeBatches has all contenders judge more than fits into one block.
func TestLargeBatches(t *testing.T) {
	if testing.Short() {
		t.Skip("builds guests")
	}
	ring := workload.NewRing(10 << 10)
	forEach(t, load(t, guests.Languages...), func(c peer.Contender) {
		t.Run(fmt.Sprintf("%s/%s/%s", c.Op, c.Impl, c.Guest), func(t *testing.T) {
			if err := peer.Check(opened(t, c), c.Op, ring, workload.RingLen); err != nil {
				t.Error(err)
			}
		})
	})
}

func forEach(tb testing.TB, set *guests.Set, do func(c peer.Contender)) {
	tb.Helper()
	field, err := peer.NewField(tb.Context(), set, cacheDir())
	if err != nil {
		tb.Fatal(err)
	}
	defer func() {
		if err := field.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	}()
	for _, op := range ops.All() {
		for _, c := range field.Contenders(op) {
			do(c)
		}
	}
}

// opened opens a contender until the end of the test.
func opened(tb testing.TB, c peer.Contender) peer.Judge {
	tb.Helper()
	j, err := c.Open(tb.Context())
	if err != nil {
		tb.Fatalf("%s %s %s: %v", c.Impl, c.Guest, c.Op, err)
	}
	tb.Cleanup(func() {
		if err := j.Close(); err != nil {
			tb.Error(err)
		}
	})
	return j
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, args string
		check      func(options) bool
	}{
		{"default", "", func(o options) bool {
			return !o.json && len(o.plan.sizes) == 3 && len(o.plan.batches) == 4 && len(o.plan.ops) == 5 && len(o.languages) == 4 && o.plan.rounds == (rounds.Config{})
		}},
		{"quick", "--quick --output json", func(o options) bool {
			return o.json && slices.Equal(o.plan.sizes, []int{200}) && slices.Equal(o.languages, []string{"c", "go"})
		}},
		{"fewer rounds than five", "--rounds 2", func(o options) bool { return o.plan.rounds.Rounds == 5 }},
		{"more rounds", "--rounds 9", func(o options) bool { return o.plan.rounds.Rounds == 9 }},
		{"operations", "--op mask,route", func(o options) bool { return slices.Equal(o.plan.ops, []ops.Op{ops.Mask, ops.Route}) }},
		{"batches and sizes", "--quick --batch 8,512 --size 128,1024", func(o options) bool {
			return slices.Equal(o.plan.batches, []int{8, 512}) && slices.Equal(o.plan.sizes, []int{128, 1024})
		}},
		{"a language", "--guest c", func(o options) bool { return o.plan.without == "go" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := parse(strings.Fields(tt.args), io.Discard)
			if err != nil || !tt.check(o) {
				t.Errorf("got %+v, %v", o, err)
			}
		})
	}
	for _, args := range []string{"--output xml", "--op sort", "--guest zig", "--fast", "more", "--batch 7", "--batch 0", "--size 100", "--size big"} {
		if _, err := parse(strings.Fields(args), io.Discard); err == nil || err == flag.ErrHelp {
			t.Errorf("%s: got %v, want an error", args, err)
		}
	}
}

// BenchmarkPlugin is each contender alone, at batches of 64 and values of 200 B.
// To compare them, run the command: it takes turns.
func BenchmarkPlugin(b *testing.B) {
	const batch = 64
	ring := workload.NewRing(200)
	forEach(b, load(b, guests.Languages...), func(c peer.Contender) {
		out := make([]ops.Result, batch)
		b.Run(fmt.Sprintf("%s/%s/%s", c.Op, c.Impl, c.Guest), func(b *testing.B) {
			j := opened(b, c)
			b.ReportAllocs()
			turn := 0
			for b.Loop() {
				if err := j.Judge(ring.Batch(turn, batch), out); err != nil {
					b.Fatal(err)
				}
				turn++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/record")
		})
	})
}
