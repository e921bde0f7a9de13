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
// each followed by modules of the corpus, which are short, so that most changes
// hit something that matters. Those that use up their deadline are left out,
// since that is all that their mutations would do.
func sources(t testing.TB) [][]byte {
	t.Helper()
	const beside = 3
	var short, out [][]byte
	for _, c := range hostile.Corpus() {
		if !c.Slow && c.Row != "P2" && (c.Fate == hostile.Harmless || c.Fate == hostile.Faulted) && len(c.Wasm) < 4096 {
			short = append(short, c.Wasm)
		}
	}
	if len(short) < 200 {
		t.Fatalf("%d short modules to start from, want 200", len(short))
	}
	for i := 0; i+beside <= len(short); i += beside {
		wasm, _, _ := plugins.Builtin(plugins.Names()[i/beside%len(plugins.Names())])
		out = append(append(out, wasm), short[i:i+beside]...)
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
	for _, wasm := range sources(f)[:32] {
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
