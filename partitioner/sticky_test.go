package partitioner_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/partitioner"
)

func TestC054_StickySwitchesAtTheThreshold(t *testing.T) {
	for _, test := range []struct {
		name string
		n    int
		want []int32
	}{
		{"three partitions", 3, []int32{0, 0, 0, 1, 1, 1, 2, 2, 2, 0}},
		{"one partition", 1, make([]int32, 10)},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := partitioner.Default(partitioner.DefaultConfig{BatchSize: 3, Rand: counting()})
			var got []int32
			for range test.want {
				got = append(got, appendTo(t, p, topic(test.n), 1, len(got) == 0))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestC055_PartitionsWithoutLeader(t *testing.T) {
	for _, test := range []struct {
		name      string
		available []bool
		want      []int32 // where records may go
	}{
		{"one has none", []bool{true, false, true}, []int32{0, 2}},
		{"only one has", []bool{false, false, true}, []int32{2}},
		{"none has", []bool{false, false, false}, []int32{0, 1, 2}},
	} {
		for _, name := range []string{"default", "round_robin", "crc32", "fnv1a", "least_backup"} {
			t.Run(test.name+"/"+name, func(t *testing.T) {
				p, ok := partitioner.ByName(name, partitioner.DefaultConfig{BatchSize: 1, Adaptive: true})
				if !ok {
					t.Fatal("no such partitioner")
				}
				some := topic(3)
				some.Available = test.available
				seen := make(map[int32]bool)
				for i := range 100 {
					some.Load = []uint32{uint32(i % 5), uint32(i % 3), uint32(i % 7)}
					to := choose(t, p, &klamm.Record{}, some)
					if a, ok := p.(partitioner.Accounter); ok {
						a.Appended(some.Name, to, 1, true)
					}
					seen[to] = true
				}
				for _, to := range test.want {
					if !seen[to] {
						t.Errorf("%d got none", to)
					}
					delete(seen, to)
				}
				if len(seen) > 0 {
					t.Errorf("records went to %v", seen)
				}
			})
		}
	}
}

// A partition that loses its leader is left at once.
func TestStickyLeavesLostPartition(t *testing.T) {
	p := partitioner.Default(partitioner.DefaultConfig{Rand: counting()})
	some := topic(2)
	if got := appendTo(t, p, some, 1, true); got != 0 {
		t.Fatalf("got %d, want 0", got)
	}
	some.Available = []bool{false, true}
	if got := appendTo(t, p, some, 1, true); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
}

func TestC057_StickySizeMustBePositive(t *testing.T) {
	if err := partitioner.NewSticky(0); err == nil || !strings.Contains(err.Error(), "batch size 0") {
		t.Errorf("size 0: got %v", err)
	}
	if err := (partitioner.DefaultConfig{BatchSize: -1}).Validate(); err == nil {
		t.Error("size -1 is valid")
	}
	if err := (partitioner.DefaultConfig{}).Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("Default took size -1")
		}
	}()
	partitioner.Default(partitioner.DefaultConfig{BatchSize: -1})
}

func TestC058_SwitchWaitsForTheBatch(t *testing.T) {
	p := partitioner.Default(partitioner.DefaultConfig{BatchSize: 1024, Rand: counting()})
	some := topic(3)
	got := []int32{appendTo(t, p, some, 20, true)}
	for range 4 { // each needs a batch of its own
		got = append(got, appendTo(t, p, some, 1024, true))
	}
	if want := []int32{0, 0, 1, 2, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A batch that never gets complete does not hold records for ever.
func TestSwitchIsForcedAtTwice(t *testing.T) {
	p := partitioner.Default(partitioner.DefaultConfig{BatchSize: 1000, Rand: counting()})
	some := topic(3)
	for i := range 20 { // each batch goes out on its own before it is full
		if got := appendTo(t, p, some, 100, i%5 == 0); got != 0 {
			t.Fatalf("record %d: moved on at %d bytes", i, i*100)
		}
	}
	if got := appendTo(t, p, some, 100, false); got != 1 {
		t.Errorf("got %d after twice the bytes, want 1", got)
	}
}

// What others append elsewhere, or to another topic, does not count.
func TestStickyCountsItsOwnPartition(t *testing.T) {
	p := partitioner.Default(partitioner.DefaultConfig{BatchSize: 10, Rand: counting()})
	some := topic(3)
	p.Appended(some.Name, 0, 1000, true) // before anything was chosen
	if got := appendTo(t, p, some, 1, true); got != 0 {
		t.Fatalf("got %d, want 0", got)
	}
	p.Appended(some.Name, 1, 1000, true)
	p.Appended("bills", 0, 1000, true)
	if got := appendTo(t, p, some, 1, false); got != 0 {
		t.Errorf("got %d, want 0", got)
	}
	p.Appended(some.Name, 0, 1000, true)
	if got := appendTo(t, p, some, 1, false); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
}

func TestIgnoreKeys(t *testing.T) {
	p := partitioner.Default(partitioner.DefaultConfig{IgnoreKeys: true, Rand: counting()})
	for _, key := range []string{"a", "b", "c", "d"} {
		if got := choose(t, p, &klamm.Record{Key: []byte(key)}, topic(12)); got != 0 {
			t.Errorf("%s: got %d, want 0", key, got)
		}
	}
}

func TestC059_AdaptiveFrequencies(t *testing.T) {
	const batch = 1000
	for _, test := range []struct {
		name      string
		adaptive  bool
		queues    []uint32 // in batches
		available []bool
		rounds    int
		want      []int
	}{
		{"1, 7, 2", true, []uint32{1, 7, 2}, nil, 14, []int{7, 1, 6}},
		{"late node left out", true, []uint32{1, 7, 2}, []bool{true, true, false}, 8, []int{7, 1, 0}},
		{"two left out", true, []uint32{1, 7, 2}, []bool{false, true, false}, 8, []int{0, 8, 0}},
		{"all equal", true, []uint32{3, 3, 3}, nil, 9, []int{3, 3, 3}},
		{"not known", true, nil, nil, 9, []int{3, 3, 3}},
		{"known for some", true, []uint32{9, 0}, nil, 9, []int{3, 3, 3}},
		{"not adaptive", false, []uint32{1, 7, 2}, nil, 9, []int{3, 3, 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := partitioner.Default(partitioner.DefaultConfig{BatchSize: batch, Adaptive: test.adaptive, Rand: counting()})
			some := topic(3)
			some.Available = test.available
			for _, q := range test.queues {
				some.Load = append(some.Load, q*batch)
			}
			got := make([]int, 3)
			for range test.rounds {
				got[appendTo(t, p, some, 2*batch, true)]++
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestC061_RoundRobinIsFair(t *testing.T) {
	for _, n := range []int{1, 2, 4, 6, 7, 12} {
		p := partitioner.RoundRobin()
		some := topic(n)
		counts := make([]int, n)
		for i := range 1000 {
			to := choose(t, p, &klamm.Record{Key: []byte{byte(i)}}, some)
			counts[to]++
			if a, ok := p.(partitioner.Accounter); ok {
				a.Appended(some.Name, to, 1, i%3 == 0) // batches turn over
			}
			choose(t, p, &klamm.Record{}, &partitioner.Topic{Name: "bills", Partitions: []int32{0, 1}})
		}
		if least, most := slices.Min(counts), slices.Max(counts); most-least > 1 {
			t.Errorf("%d partitions: got %v, want each within 1", n, counts)
		}
	}
}

func TestC062_PartitionsShrinkUnderAPin(t *testing.T) {
	for _, name := range partitioner.Names {
		if name == "manual" {
			continue
		}
		p, _ := partitioner.ByName(name, partitioner.DefaultConfig{Adaptive: true, Rand: func() uint32 { return 11 }})
		choose(t, p, &klamm.Record{}, topic(12))
		for n := 11; n > 0; n-- {
			if got := choose(t, p, &klamm.Record{}, topic(n)); int(got) >= n {
				t.Errorf("%s: got %d of %d partitions", name, got, n)
			}
		}
		if got, err := p.Partition(&klamm.Record{Key: []byte("k")}, topic(0)); !errors.Is(err, klamm.ErrInvalidPartition) {
			t.Errorf("%s: no partitions: got %d, %v", name, got, err)
		}
	}
}

func TestC063_LeastBackup(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, test := range []struct {
		name      string
		load      []uint32
		least     int // every chosen partition's picks of 300 at least
		chosen    []int32
		available []bool
	}{
		{"one is least", []uint32{3, 0, 7}, 300, []int32{1}, nil},
		{"ties", []uint32{0, 0, 0}, 60, []int32{0, 1, 2}, nil},
		{"ties of two", []uint32{5, 9, 5}, 100, []int32{0, 2}, nil},
		{"least is not available", []uint32{3, 0, 7}, 300, []int32{0}, []bool{true, false, true}},
		{"not known", nil, 60, []int32{0, 1, 2}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := partitioner.LeastBackup(partitioner.DefaultConfig{BatchSize: 100, Rand: rng.Uint32})
			some := topic(3)
			some.Load, some.Available = test.load, test.available
			counts := make([]int, 3)
			for range 300 {
				counts[appendTo(t, p, some, 200, true)]++
			}
			for i, n := range counts {
				if want := slices.Contains(test.chosen, int32(i)); want && n < test.least || !want && n > 0 {
					t.Errorf("got %v, want only %v, each at least %d times", counts, test.chosen, test.least)
				}
			}
		})
	}
}

func TestKeylessIsRandom(t *testing.T) {
	for _, name := range []string{"crc32", "fnv1a"} {
		p, _ := partitioner.ByName(name, partitioner.DefaultConfig{})
		counts := make([]int, 4)
		for range 4000 {
			counts[choose(t, p, &klamm.Record{}, topic(4))]++
		}
		if least := slices.Min(counts); least < 800 {
			t.Errorf("%s: got %v, want about 1000 each", name, counts)
		}
	}
	counts := make([]int, 4) // librdkafka takes an empty key for none
	for range 4000 {
		counts[choose(t, partitioner.CRC32(), &klamm.Record{Key: []byte{}}, topic(4))]++
	}
	if least := slices.Min(counts); least < 800 {
		t.Errorf("crc32, empty key: got %v, want about 1000 each", counts)
	}
}

func TestManual(t *testing.T) {
	for _, test := range []struct {
		name   string
		target klamm.Target
		want   int32
		ok     bool
	}{
		{"demanded", klamm.ToPartition(2), 2, true},
		{"first", klamm.ToPartition(0), 0, true},
		{"none", 0, 0, false},
		{"negative", klamm.ToPartition(-3), 0, false},
		{"beyond", klamm.ToPartition(3), 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := partitioner.Manual().Partition(&klamm.Record{Target: test.target}, topic(3))
			if ok := err == nil; ok != test.ok || ok && got != test.want {
				t.Errorf("got %d, %v, want %d, %v", got, err, test.want, test.ok)
			}
			if !test.ok && !errors.Is(err, klamm.ErrInvalidPartition) {
				t.Errorf("got %v, want ErrInvalidPartition", err)
			}
		})
	}
}

// Ids need not be indexes.
func TestPartitionIDs(t *testing.T) {
	some := &partitioner.Topic{Name: "orders", Partitions: []int32{5, 9}, Available: []bool{true, false}}
	for _, name := range partitioner.Names {
		p, _ := partitioner.ByName(name, partitioner.DefaultConfig{})
		for _, rec := range []*klamm.Record{
			{Target: klamm.ToPartition(5)}, {Target: klamm.ToPartition(9), Key: []byte("k")},
		} {
			if got := choose(t, p, rec, some); got != 5 && got != 9 {
				t.Errorf("%s: got %d, want 5 or 9", name, got)
			}
		}
	}
}

func TestByName(t *testing.T) {
	for _, name := range append([]string{""}, partitioner.Names...) {
		if p, ok := partitioner.ByName(name, partitioner.DefaultConfig{}); !ok || p == nil {
			t.Errorf("%q is not known", name)
		}
	}
	if p, ok := partitioner.ByName("random", partitioner.DefaultConfig{}); ok {
		t.Errorf("got %T for a name that is not one", p)
	}
}
