package plugin

import (
	"fmt"
	"slices"
	"testing"

	"github.com/klamm-io/klamm/sdk/abi"
)

// testBlock lays out a block of records with the given keys and values, topic
// "t" with 4 partitions, and a modification area.
func testBlock(modCap int, keys ...string) []byte {
	b := make([]byte, abi.BatchHeaderSize+len(keys)*abi.VerdictSize)
	topics := uint32(len(b))
	b = append(b, make([]byte, abi.TopicEntrySize)...)
	putU32(b, topics+abi.TopNameOff, uint32(len(b)))
	putU32(b, topics+abi.TopNameLen, 1)
	putU32(b, topics+abi.TopPartitions, 4)
	b = append(b, 't', 0, 0, 0, 0, 0, 0, 0)
	records := uint32(len(b))
	for i, key := range keys {
		at := uint32(len(b))
		b = append(b, make([]byte, abi.RecordHeaderSize)...)
		putU32(b, at+abi.RecKeyOff, uint32(len(b))-at)
		putU32(b, at+abi.RecKeyLen, uint32(len(key)))
		putU32(b, at+abi.RecValueOff, uint32(len(b))-at)
		putU32(b, at+abi.RecValueLen, uint32(len(key)))
		b = append(b, key...)
		b = append(b, make([]byte, abi.Align8(len(b))-len(b))...)
		putU32(b, at+abi.RecHeadersOff, uint32(len(b))-at)
		b[at+abi.RecHeaderCount] = 1
		h := uint32(len(b))
		b = append(b, make([]byte, abi.HeaderEntrySize)...)
		putU32(b, h+abi.HdrKeyOff, h+16-at)
		putU32(b, h+abi.HdrKeyLen, 1)
		putU32(b, h+abi.HdrValueOff, h+17-at)
		putU32(b, h+abi.HdrValueLen, 2)
		b = append(b, 'h', 'v', 'w', 0, 0, 0, 0, 0)
		putU64(b, at+abi.RecRef, uint64(i)+1)
		putU32(b, at+abi.RecSize, uint32(len(b))-at)
	}
	putU32(b, abi.BatchMagic, abi.MagicBatch)
	putU16(b, abi.BatchSize, abi.BatchHeaderSize)
	putU16(b, abi.BatchRecordSize, abi.RecordHeaderSize)
	putU32(b, abi.BatchCount, uint32(len(keys)))
	putU32(b, abi.BatchVerdictOff, abi.BatchHeaderSize)
	putU32(b, abi.BatchTopicsOff, topics)
	putU32(b, abi.BatchTopicsCount, 1)
	putU32(b, abi.BatchRecOff, records)
	putU32(b, abi.BatchModOff, uint32(len(b)))
	putU32(b, abi.BatchModCap, uint32(modCap))
	return append(b, make([]byte, modCap)...)
}

func openBatch(t *testing.T, block []byte) *Batch {
	t.Helper()
	b := &Batch{}
	if err := b.open(abi.OnSend, block); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAllocations reads and judges without allocating.
func TestAllocations(t *testing.T) {
	block := testBlock(1<<10, "a", "b", "c")
	b := &Batch{}
	if n := testing.AllocsPerRun(100, func() {
		clear(block[abi.BatchHeaderSize : abi.BatchHeaderSize+3*abi.VerdictSize])
		if err := b.open(abi.OnSend, block); err != nil {
			t.Fatal(err)
		}
		for i, r := range b.All() {
			v, ok := r.Header("h")
			if string(r.Key()) == "" || len(r.Value()) != 1 || !ok || string(v) != "vw" || r.Topic().Name() != "t" {
				t.Fatal("misread")
			}
			for range r.Headers("h") {
				r.Route(Murmur2(r.Key()) % r.Topic().Partitions())
			}
			for k, v := range r.AllHeaders() {
				if i == 1 && string(k) == "h" {
					r.SetKey(v)
				}
			}
			if i == 2 {
				r.Drop(Filtered)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for a batch", n)
	}
}

// TestInterleavedEdits goes back and forth between records: lists that are no
// longer at the end of the area move there.
func TestInterleavedEdits(t *testing.T) {
	b := openBatch(t, testBlock(1<<10, "a", "b"))
	for range 3 {
		b.At(0).AddHeader("x", []byte("0"))
		b.At(1).AddHeader("y", nil)
	}
	for i, key := range []string{"x", "y"} {
		list := b.At(i).verdict().Arg()
		if n, size := u32(b.b, list), u32(b.b, list+4); n != 3 || size != 3*24 {
			t.Fatalf("record %d: %d edits in %d bytes, want 3 in 72", i, n, size)
		}
		for e := list + abi.EditHeaderSize; e < list+abi.EditHeaderSize+72; e += 24 {
			if got := string(b.b[e+abi.EditEntrySize : e+abi.EditEntrySize+1]); got != key {
				t.Errorf("record %d: key %q, want %q", i, got, key)
			}
		}
	}
}

// TestFullArea fills the area at each record in turn: what came before stands,
// what comes after is ignored, and going back to an earlier record counts.
func TestFullArea(t *testing.T) {
	for full := range 3 {
		b := openBatch(t, testBlock(64, "a", "b", "c"))
		for i := range 3 {
			if i == full {
				b.At(i).SetKey(make([]byte, 65))
			} else {
				b.At(i).Route(uint32(i))
			}
		}
		b.finish()
		if b.full != full {
			t.Errorf("full at record %d: done = %d", full, b.full)
		}
		for i := range 3 {
			want := abi.PackVerdict(abi.Route, 0, 0, uint32(i))
			if i >= full {
				want = 0
			}
			if got := b.At(i).verdict(); got != want {
				t.Errorf("full at record %d: record %d has verdict %x, want %x", full, i, got, want)
			}
		}
		if full > 0 {
			b.At(0).SetKey(make([]byte, 65))
			if b.full != 0 {
				t.Errorf("full at record %d, then at 0: done = %d", full, b.full)
			}
		}
	}
}

func TestMalformedBlocks(t *testing.T) {
	tests := []struct {
		name   string
		damage func(b []byte) []byte
	}{
		{"short", func(b []byte) []byte { return b[:63] }},
		{"other magic", func(b []byte) []byte { putU32(b, abi.BatchMagic, abi.MagicAck); return b }},
		{"too many records", func(b []byte) []byte { putU32(b, abi.BatchCount, abi.BatchMax+1); return b }},
		{"short record headers", func(b []byte) []byte { putU16(b, abi.BatchRecordSize, 56); return b }},
		{"verdicts outside", func(b []byte) []byte { putU32(b, abi.BatchVerdictOff, uint32(len(b))); return b }},
		{"area outside", func(b []byte) []byte { putU32(b, abi.BatchModCap, 1<<31); return b }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b Batch
			if err := b.open(abi.OnSend, tt.damage(testBlock(64, "a"))); err == nil {
				t.Error("opened")
			}
		})
	}
}

// A plugin that sees ever new topics does not keep all of their names.
func TestTopicNamesAreBounded(t *testing.T) {
	var names []string
	for i := range 3 * topicNamesMax {
		want := fmt.Sprintf("topic-%d", i)
		entry := make([]byte, abi.TopicEntrySize+len(want))
		putU32(entry, abi.TopNameOff, abi.TopicEntrySize)
		putU32(entry, abi.TopNameLen, uint32(len(want)))
		copy(entry[abi.TopicEntrySize:], want)
		topic := Topic{entry, 0}
		names = append(names, topic.Name())
		if n := testing.AllocsPerRun(10, func() { topic.Name() }); n != 0 {
			t.Fatalf("%v allocations for a name that was met", n)
		}
		clear(entry)
	}
	if len(topicNames) > topicNamesMax {
		t.Errorf("%d names are kept", len(topicNames))
	}
	for i, got := range names {
		if want := fmt.Sprintf("topic-%d", i); got != want {
			t.Errorf("name %d has become %q, was %q", i, got, want)
		}
	}
}

// FuzzBlock judges blocks that the host would never send. A hook may panic, as
// it does for an index out of range: the host takes that as a trap.
func FuzzBlock(f *testing.F) {
	f.Add(testBlock(64, "a", "b"))
	f.Add(testBlock(0))
	f.Fuzz(func(t *testing.T, block []byte) {
		defer func() { _ = recover() }()
		var b Batch
		block = slices.Clone(block) // the fuzzer keeps its own
		if b.open(abi.OnSend, block) != nil {
			return
		}
		for i, r := range b.All() {
			r.Header("h")
			r.SetValue(append(r.Key(), r.Value()...))
			r.AddHeader(r.Topic().Name(), nil)
			r.Route(uint32(i))
		}
		b.finish()
		if b.full > b.count {
			t.Errorf("done = %d of %d", b.full, b.count)
		}
	})
}

func BenchmarkRoute(b *testing.B) {
	keys := make([]string, 64)
	for i := range keys {
		keys[i] = "key-0123456789"
	}
	block := testBlock(1<<10, keys...)
	var batch Batch
	b.ReportAllocs()
	for b.Loop() {
		if err := batch.open(abi.OnSend, block); err != nil {
			b.Fatal(err)
		}
		for i := range batch.Len() {
			r := batch.At(i)
			r.Route(Murmur2(r.Key()) % r.Topic().Partitions())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(keys)), "ns/record")
}
