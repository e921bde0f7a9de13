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

// mutations is how many TestMutations tries, from which seed on. The environment
// asks for more, with KLAMM_MUTATIONS and KLAMM_MUTATIONS_SEED.
func mutations(t *testing.T) (total int, seed uint64) {
	t.Helper()
	total = 2000
	if testing.Short() {
		total = 300
	}
	total = int(number(t, "KLAMM_MUTATIONS", uint64(total)))
	return total, number(t, "KLAMM_MUTATIONS_SEED", 20261120)
}

// number reads a variable of the environment.
func number(t *testing.T, name string, unset uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return unset
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// Mutated plugins are refused or run like any other, while the load goes on.
func TestMutations(t *testing.T) {
	b, from := newBench(t), sources(t)
	total, seed := mutations(t)
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
