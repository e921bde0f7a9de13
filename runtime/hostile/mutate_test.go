package hostile_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/klamm-io/klamm/plugins"
	"github.com/klamm-io/klamm/runtime/hostile"
)

// sources are the modules that mutations start from: the ready-made plugins,
// and two of the corpus with more instructions.
func sources(t testing.TB) [][]byte {
	t.Helper()
	var out [][]byte
	for _, name := range plugins.Names() {
		wasm, _, _ := plugins.Builtin(name)
		out = append(out, wasm)
	}
	for _, c := range hostile.Corpus() {
		if c.Name == "edits: none" || c.Name == "trap in on_send: table.copy behind the table" {
			out = append(out, c.Wasm)
		}
	}
	if len(out) != 5 {
		t.Fatalf("%d modules to start from, want 5", len(out))
	}
	return out
}

// mutations is how many TestMutations tries; the environment asks for more.
func mutations(t *testing.T) int {
	t.Helper()
	if s := os.Getenv("KLAMM_MUTATIONS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return 300
	}
	return 2000
}

// Mutated plugins are refused or run like any other, while the load goes on.
func TestMutations(t *testing.T) {
	b, from, total := newBench(t), sources(t), mutations(t)
	const seed = 20261120
	r := rand.New(rand.NewPCG(seed, 0))
	counts := map[hostile.Fate]int{}
	for i := range total {
		c := &hostile.Case{Name: strconv.Itoa(i), Wasm: hostile.Mutate(r, from[i%len(from)])}
		before := b.load.batches.Load()
		counts[b.try(t, c).fate]++
		if t.Failed() {
			t.Fatalf("mutation %d with seed %d", i, seed)
		}
		if i%50 == 0 {
			b.moves(t, c, before)
		}
	}
	t.Logf("%d mutations: %v; the load judged %d batches, the longest wait was %v",
		total, counts, b.load.batches.Load(), time.Duration(b.load.longest.Load()))
	if counts[hostile.Refused] == 0 || counts[hostile.Refused] == total {
		t.Error("the mutations are too weak, or too strong")
	}
}

// FuzzModule gives any bytes to the host as a plugin.
func FuzzModule(f *testing.F) {
	for _, wasm := range sources(f) {
		f.Add(wasm)
	}
	b := newBench(f)
	f.Fuzz(func(t *testing.T, wasm []byte) {
		began := time.Now()
		b.try(t, &hostile.Case{Wasm: wasm})
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%d bytes took %v", len(wasm), took)
		}
	})
}
