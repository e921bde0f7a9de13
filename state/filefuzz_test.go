package state

import (
	"fmt"
	"testing"
)

// sealed is a file of our own with one frame of operations.
func sealed(payload []byte) []byte {
	head := newFrame().head(fileHead{name: "ids", scope: "topic", key: Key{1, 2}})
	file := append([]byte(fileMagic), head.seal(int64(len(fileMagic)), 0)...)
	return append(file, append(newFrame(), payload...).seal(int64(len(file)), 0)...)
}

// rewritten is the file that tells memory in as few operations as there are.
func rewritten(m *memory) []byte {
	f := newFrame()
	numbers := map[*memoryBucket]map[string]uint32{}
	number := func(b *memoryBucket, topic string) uint32 {
		if numbers[b] == nil {
			numbers[b] = map[string]uint32{}
		}
		if n, ok := numbers[b][topic]; ok {
			return n
		}
		n := 0
		for _, topics := range numbers {
			n += len(topics)
		}
		f = f.origin(b.plugin, topic)
		numbers[b][topic] = uint32(n)
		return uint32(n)
	}
	w := m.walk()
	defer w.end()
	for e := w.step(); e != nil; e = w.step() {
		o := m.origins[e.origin]
		n := number(o.bucket, o.topic)
		f = f.remember(n, e.id, e.partition, e.offset, e.expiresMS, 0)
	}
	for v := m.values.oldest; v != nil; v = v.next {
		topic := ""
		for name := range v.bucket.origins {
			topic = name
			break
		}
		n := number(v.bucket, topic)
		f = f.put(n, v.key, v.bytes, v.expiresMS)
	}
	return sealed(f[frameHead:])
}

// FuzzFile reads files that nobody wrote: bytes as they come, or as the operations
// of a frame that checks, at whose end something is missing. It must not panic,
// must not remember more than the bytes can say, and what it remembers must be
// whole: written again and read again it is the same.
func FuzzFile(f *testing.F) {
	f.Add([]byte(fileMagic), false, uint8(0))
	f.Add(madeLog(f, 40, true), false, uint8(0))
	f.Add(madeLog(f, 40, false), false, uint8(9))
	ops := newFrame().origin("dedup", "t").origin("dedup", "u").remember(0, numbered(1), 2, 3, 4, 0).remember(1, numbered(2), -1, -1, 0, 1).
		forget(numbered(2)).put(1, "k", []byte("v"), 7).put(0, "k", nil, 0).remove(0, "k").remember(1, numbered(2), 0, 0, 0, 0)
	f.Add([]byte(ops[frameHead:]), true, uint8(0))
	f.Add([]byte{opRemember, 0}, true, uint8(0))
	f.Add([]byte{opPut, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}, true, uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, frame bool, cut uint8) {
		if frame {
			data = sealed(data)
		}
		data = data[:max(0, len(data)-int(cut))]
		m := newMemory(Key{}, 1<<20, 1<<20)
		got, err := readLog(data, &restorer{m: m})
		if err == nil && got.end+got.cut != int64(len(data)) {
			t.Fatalf("%d bytes read and %d cut off of %d", got.end, got.cut, len(data))
		}
		if least := 20; m.count > len(data)/least || m.values.bytes > int64(len(data))*(1+valueOverhead) {
			t.Fatalf("%d ids and %d bytes of values out of %d bytes", m.count, m.values.bytes, len(data))
		}
		whole(t, m)
		if err != nil {
			return
		}
		again := newMemory(Key{}, 1<<20, 1<<20)
		if _, err := readLog(rewritten(m), &restorer{m: again}); err != nil {
			t.Fatalf("written anew it is refused: %v", err)
		}
		if a, b := listed(m), listed(again); a != b {
			t.Fatalf("written anew it is\n%s, not\n%s", b, a)
		}
	})
}

// whole checks that the order, the index and the counts of memory agree.
func whole(t *testing.T, m *memory) {
	t.Helper()
	n, entries := 0, 0
	w := m.walk()
	defer w.end()
	for e := w.step(); e != nil; e = w.step() {
		if m.find(&e.id) != before(w.next) {
			t.Fatalf("id %v is not found where it is", e.id)
		}
		n++
	}
	for _, b := range m.buckets {
		entries += b.usage.Entries
	}
	if want := fmt.Sprint(m.count, m.count); fmt.Sprint(n, entries) != want {
		t.Fatalf("%d ids in order and %d counted of %d", n, entries, m.count)
	}
}
