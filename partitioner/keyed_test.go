package partitioner_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/partitioner"
)

func TestC047_KeyedIsMurmur2OverAllPartitions(t *testing.T) {
	p := partitioner.Default(partitioner.DefaultConfig{})
	for _, v := range vectors {
		if got := int32(partitioner.Murmur2([]byte(v.key))); got != v.hash {
			t.Errorf("murmur2 of %q: got %d, want %d", v.key, got, v.hash)
		}
		for i, n := range vectorCounts {
			some := topic(n)
			some.Available = make([]bool, n) // nobody leads, all count
			if got := choose(t, p, &klamm.Record{Key: []byte(v.key)}, some); got != v.partition[i] {
				t.Errorf("%q among %d: got %d, want %d", v.key, n, got, v.partition[i])
			}
		}
	}
	if len(vectors) != 43 {
		t.Errorf("got %d vectors, want 43", len(vectors))
	}
}

func TestC049_NegativeHashIsMasked(t *testing.T) {
	abs := func(h int32) int64 { return max(int64(h), -int64(h)) }
	for _, v := range vectors {
		if got := int32(partitioner.Murmur2([]byte(v.key)) & 0x7fffffff); got != v.toPositive {
			t.Errorf("%q: got %d, want %d", v.key, got, v.toPositive)
		}
		if got := int32(abs(v.hash) % 10); got != v.abs10 {
			t.Errorf("%q: the wrong way gives %d, want %d", v.key, got, v.abs10)
		}
	}
	differ := 0
	for i := range 10_000 {
		key := []byte(strconv.Itoa(i))
		if int64(partitioner.KeyPartition(key, 12)) != abs(int32(partitioner.Murmur2(key)))%12 {
			differ++
		}
	}
	if differ != 4122 {
		t.Errorf("abs() moves %d of 10000 keys, want 4122", differ)
	}
	if got := partitioner.Murmur2([]byte("359461")) & 0x7fffffff; got != 14096 {
		t.Errorf("lowest hash: got %d, want 14096", got)
	}
}

func TestMurmur2IsUniform(t *testing.T) {
	var counts [12]int
	for i := range 120_000 {
		counts[partitioner.KeyPartition([]byte(strconv.Itoa(i)), 12)]++
	}
	least, most := counts[0], counts[0]
	for _, n := range counts {
		least, most = min(least, n), max(most, n)
	}
	if least != 9795 || most != 10192 {
		t.Errorf("got %d to %d keys per partition, want 9795 to 10192", least, most)
	}
}

func TestC050_KeyIsStable(t *testing.T) {
	p := partitioner.Default(partitioner.DefaultConfig{Adaptive: true})
	rec := &klamm.Record{Key: []byte("user-42")}
	some := topic(12)
	want := choose(t, p, rec, some)
	some.Available = make([]bool, 12)
	some.Load = make([]uint32, 12)
	for i := range some.Available {
		some.Available[i], some.Load[i] = int32(i) != want, 0
	}
	some.Load[want] = 1 << 30
	for range 100 {
		if got := choose(t, p, rec, some); got != want {
			t.Fatalf("got %d, want %d although nobody leads it", got, want)
		}
	}
}

func TestEmptyKeyIsAKey(t *testing.T) {
	some := topic(7)
	for name, want := range map[string]int32{"default": 2, "fnv1a": 2} {
		p, _ := partitioner.ByName(name, partitioner.DefaultConfig{})
		if name == "fnv1a" {
			want = saramaPartition(t, sarama.NewHashPartitioner, []byte{}, 7)
		}
		for range 20 {
			if got := choose(t, p, &klamm.Record{Key: []byte{}}, some); got != want {
				t.Fatalf("%s: got %d, want %d", name, got, want)
			}
		}
	}
}

// librdkafka's published constants (test 0048). Its FNV-1a is negated where it is
// negative, which is the same as sarama's negation after the modulo.
func TestCRC32AndFNV1aVectors(t *testing.T) {
	for _, v := range []struct {
		key        string
		crc, fnv1a uint32
	}{
		{"hejsan", 0xd077037e, 0x17b1e27a},
		{"23456", 0xb1b451d7, 0x27e6f469},
		{"this is another string with more length to it perhaps", 0xb0150df7, 0x155e3e5f},
		{"", 0, 0x7ee3623b},
	} {
		rec := &klamm.Record{Key: []byte(v.key)}
		for n := 1; n < 2000; n += 7 {
			if got, want := choose(t, partitioner.CRC32(), rec, topic(n)), int32(v.crc%uint32(n)); got != want && v.key != "" {
				t.Errorf("crc32 of %q among %d: got %d, want %d", v.key, n, got, want)
			}
			if got, want := choose(t, partitioner.FNV1a(), rec, topic(n)), int32(v.fnv1a%uint32(n)); got != want {
				t.Errorf("fnv1a of %q among %d: got %d, want %d", v.key, n, got, want)
			}
		}
	}
}

// saramaPartition is what sarama does with a key.
func saramaPartition(tb testing.TB, make sarama.PartitionerConstructor, key []byte, n int) int32 {
	tb.Helper()
	return saramaChoose(tb, make("orders"), key, n)
}

func saramaChoose(tb testing.TB, p sarama.Partitioner, key []byte, n int) int32 {
	tb.Helper()
	got, err := p.Partition(&sarama.ProducerMessage{Key: sarama.ByteEncoder(key)}, int32(n))
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

// Each of ours against the same of the other clients.
func TestEqualToOtherClients(t *testing.T) {
	const keys = 120_000
	def := partitioner.Default(partitioner.DefaultConfig{})
	fnvHash := func(b []byte) uint32 {
		h := fnv.New32a()
		h.Write(b)
		return h.Sum32()
	}
	pairs := []struct {
		name   string
		ours   partitioner.Partitioner
		theirs func(key []byte, n int) int32
	}{
		{"murmur2, franz-go", def, franz(nil)},
		{"murmur2, sarama", def, saramaOf(t, sarama.NewMurmur2Partitioner)},
		{"fnv1a, franz-go", partitioner.FNV1a(), franz(kgo.SaramaCompatHasher(fnvHash))},
		{"fnv1a, sarama", partitioner.FNV1a(), saramaOf(t, sarama.NewHashPartitioner)},
		{"crc32, sarama", partitioner.CRC32(), saramaOf(t, sarama.NewConsistentCRCHashPartitioner)},
	}
	counts := []int{1, 2, 3, 12, 50, 1000}
	topics := make([]*partitioner.Topic, len(counts))
	for i, n := range counts {
		topics[i] = topic(n)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range keys {
		key := make([]byte, 1+rng.IntN(40))
		for j := range key {
			key[j] = byte(rng.Uint32())
		}
		some := topics[i%len(counts)]
		for _, pair := range pairs {
			got, err := pair.ours.Partition(&klamm.Record{Key: key}, some)
			if want := pair.theirs(key, len(some.Partitions)); err != nil || got != want {
				t.Fatalf("%s: %x among %d: got %d, %v, want %d", pair.name, key, len(some.Partitions), got, err, want)
			}
		}
	}
}

func franz(h kgo.PartitionerHasher) func([]byte, int) int32 {
	p := kgo.StickyKeyPartitioner(h).ForTopic("orders")
	return func(key []byte, n int) int32 { return int32(p.Partition(&kgo.Record{Key: key}, n)) }
}

func saramaOf(tb testing.TB, make sarama.PartitionerConstructor) func([]byte, int) int32 {
	p := make("orders")
	return func(key []byte, n int) int32 { return saramaChoose(tb, p, key, n) }
}

func FuzzMurmur2(f *testing.F) {
	for _, v := range vectors {
		f.Add([]byte(v.key), uint16(12))
	}
	f.Add([]byte("359461"), uint16(0xffff))
	p := sarama.NewMurmur2Partitioner("orders")
	f.Fuzz(func(t *testing.T, key []byte, count uint16) {
		n := int(count) + 1
		want := saramaChoose(t, p, key, n)
		if got := partitioner.KeyPartition(key, n); int32(got) != want {
			t.Errorf("%x among %d: got %d, want %d", key, n, got, want)
		}
	})
}

func BenchmarkDefault(b *testing.B) {
	p := partitioner.Default(partitioner.DefaultConfig{Adaptive: true})
	some := topic(12)
	some.Load = make([]uint32, 12)
	for _, rec := range []*klamm.Record{{Value: make([]byte, 100)}, {Key: []byte("0123456789abcdef")}} {
		b.Run(fmt.Sprintf("key%d", len(rec.Key)), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				to, err := p.Partition(rec, some)
				if err != nil {
					b.Fatal(err)
				}
				p.Appended("orders", to, 110, false)
			}
		})
	}
}
