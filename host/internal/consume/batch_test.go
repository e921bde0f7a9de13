package consume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
)

// testBatch describes a batch; kmsg encodes it.
type testBatch struct {
	base     int64
	attrs    int16
	producer int64
	magic    int8 // 0: 2
	values   []string
	control  int // 1: abort marker, 2: commit marker
}

func (b testBatch) encode() []byte {
	var body []byte
	n := len(b.values)
	for i, v := range b.values {
		body = append(body, encodeRecord(i, []byte("k"), []byte(v))...)
	}
	if b.control > 0 {
		b.attrs |= attrControl | attrTransactional
		body, n = encodeRecord(0, []byte{0, 0, 0, byte(b.control - 1)}, []byte{0, 0, 0, 0, 0, 0}), 1
	}
	return seal(b, compress(int(b.attrs&attrCodec), body), n)
}

func encodeRecord(i int, key, value []byte) []byte {
	return sizedRecord(kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: int64(i), Key: key, Value: value})
}

func encodeRecordOf(i int, hs []klamm.Header) []byte {
	r := kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: int64(i), Key: []byte("k"), Value: []byte("v")}
	for _, h := range hs {
		r.Headers = append(r.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
	}
	return sizedRecord(r)
}

func sizedRecord(r kmsg.Record) []byte {
	r.Length = int32(len(r.AppendTo(nil)) - 1) // a length of 0 takes one byte
	return r.AppendTo(nil)
}

func seal(b testBatch, body []byte, n int) []byte {
	k := kmsg.RecordBatch{
		FirstOffset: b.base, Length: int32(batchHeader - batchPrefix + len(body)), PartitionLeaderEpoch: 7, Magic: 2,
		Attributes: b.attrs, LastOffsetDelta: int32(n - 1), FirstTimestamp: 1000, MaxTimestamp: 5000,
		ProducerID: b.producer, NumRecords: int32(n), Records: body,
	}
	if b.magic != 0 {
		k.Magic = b.magic
	}
	raw := k.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
	return raw
}

func compress(codec int, body []byte) []byte {
	var out bytes.Buffer
	switch codec {
	case codecGzip:
		w := gzip.NewWriter(&out)
		w.Write(body)
		w.Close()
	case codecSnappy:
		return xerial.EncodeBetter(nil, body)
	case codecLZ4:
		w := lz4.NewWriter(&out)
		w.Write(body)
		w.Close()
	case codecZstd:
		w, _ := zstd.NewWriter(nil)
		return w.EncodeAll(body, nil)
	default:
		return body
	}
	return out.Bytes()
}

func join(batches ...testBatch) []byte {
	var raw []byte
	for _, b := range batches {
		raw = append(raw, b.encode()...)
	}
	return raw
}

// decode reads all batches of one fetch.
func decode(raw []byte, from int64, aborted []abortedTxn, readCommitted bool) ([]klamm.Record, error) {
	d := newDecoder(tp("t", 3), raw, from, aborted, readCommitted)
	var all []klamm.Record
	for {
		l, err := d.next(2)
		if err != nil || l == nil {
			return all, err
		}
		all = append(all, l.records...)
	}
}

func shown(recs []klamm.Record) string {
	var s []string
	for _, r := range recs {
		s = append(s, fmt.Sprintf("%d:%s", r.Offset, r.Value))
	}
	return strings.Join(s, " ")
}

func TestDecode(t *testing.T) {
	plain := testBatch{base: 10, values: []string{"a", "b"}}
	txn := func(base, producer int64, values ...string) testBatch {
		return testBatch{base: base, producer: producer, attrs: attrTransactional, values: values}
	}
	abort := func(base, producer int64) testBatch { return testBatch{base: base, producer: producer, control: 1} }
	commit := func(base, producer int64) testBatch { return testBatch{base: base, producer: producer, control: 2} }
	tests := []struct {
		name    string
		raw     []byte
		from    int64
		aborted []abortedTxn
		want    string
		all     string // read_uncommitted, "" is the same
		next    int64
	}{
		{name: "nothing", next: 0},
		{name: "two batches", raw: join(plain, testBatch{base: 12, values: []string{"c"}}), from: 10, want: "10:a 11:b 12:c", next: 13},
		{name: "from the middle of a batch", raw: join(plain), from: 11, want: "11:b", next: 12},
		{name: "cut off in the second batch", raw: join(plain, plain)[:100], from: 10, want: "10:a 11:b", next: 12},
		{name: "cut off in the first batch", raw: join(plain)[:70], from: 10, next: 10},
		{name: "cut off in the length", raw: join(plain)[:9], from: 10, next: 10},
		{name: "aborted", raw: join(txn(0, 1, "no"), abort(1, 1), txn(2, 1, "yes"), commit(3, 1)), aborted: []abortedTxn{{1, 0}}, want: "2:yes", all: "0:no 2:yes", next: 4},
		{name: "aborted, the list out of order (A17)",
			raw:     join(txn(0, 1, "no"), txn(1, 2, "no"), abort(2, 2), abort(3, 1), txn(4, 2, "yes"), txn(5, 1, "no"), abort(6, 1)),
			aborted: []abortedTxn{{1, 5}, {2, 1}, {1, 0}}, want: "4:yes", all: "0:no 1:no 4:yes 5:no", next: 7},
		{name: "aborted from before the fetch", raw: join(txn(8, 1, "no"), abort(9, 1), txn(10, 1, "yes")), from: 8, aborted: []abortedTxn{{1, 3}}, want: "10:yes", all: "8:no 10:yes", next: 11},
		{name: "another producer is not aborted", raw: join(txn(0, 1, "no"), txn(1, 2, "yes"), testBatch{base: 2, producer: 1, values: []string{"no txn"}}), aborted: []abortedTxn{{1, 0}}, want: "1:yes 2:no txn", all: "0:no 1:yes 2:no txn", next: 3},
		{name: "markers alone", raw: join(abort(5, 1), commit(6, 2)), from: 5, next: 7},
		{name: "gzip", raw: join(testBatch{attrs: codecGzip, values: []string{"a", "b"}}), want: "0:a 1:b", next: 2},
		{name: "snappy", raw: join(testBatch{attrs: codecSnappy, values: []string{"a", "b"}}), want: "0:a 1:b", next: 2},
		{name: "lz4", raw: join(testBatch{attrs: codecLZ4, values: []string{"a", "b"}}), want: "0:a 1:b", next: 2},
		{name: "zstd", raw: join(testBatch{attrs: codecZstd, values: []string{"a", "b"}}), want: "0:a 1:b", next: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.all == "" {
				tt.all = tt.want
			}
			for want, readCommitted := range map[string]bool{"committed " + tt.want: true, "uncommitted " + tt.all: false} {
				recs, err := decode(tt.raw, tt.from, append([]abortedTxn(nil), tt.aborted...), readCommitted)
				if err != nil {
					t.Fatal(err)
				}
				if _, want, _ := strings.Cut(want, " "); shown(recs) != want {
					t.Errorf("read_committed %v: %q, want %q", readCommitted, shown(recs), want)
				}
			}
			if next, err := nextOffset(tt.raw, tt.from); err != nil || next != tt.next {
				t.Errorf("next offset %d, %v, want %d", next, err, tt.next)
			}
		})
	}
}

func TestDecodeTimestamps(t *testing.T) {
	for attrs, want := range map[int16][]int64{0: {1000, 1001}, attrLogAppendTime: {5000, 5000}} {
		recs, err := decode(join(testBatch{attrs: attrs, values: []string{"a", "b"}}), 0, nil, true)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, r := range recs {
			got = append(got, r.Timestamp.UnixMilli())
			if r.Topic != "t" || r.Partition != 3 || r.LeaderEpoch != 7 || string(r.Key) != "k" {
				t.Errorf("record %+v", r)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("attributes %#x (-want +got):\n%s", attrs, diff)
		}
	}
}

// TestDecodeErrors is A28 and N6 for fetched batches.
func TestDecodeErrors(t *testing.T) {
	good := testBatch{base: 10, values: []string{"abc", "def"}}
	change := func(f func(raw []byte)) []byte {
		raw := good.encode()
		f(raw)
		binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
		return raw
	}
	put32 := func(at int, v int32) []byte {
		return change(func(raw []byte) { binary.BigEndian.PutUint32(raw[at:], uint32(v)) })
	}
	flipped := good.encode()
	flipped[len(flipped)-1] ^= 1
	bomb := bytes.Repeat([]byte{0}, inflatedMaxBytes+1)
	tests := []struct {
		name string
		raw  []byte
		want string
	}{
		{"wrong checksum", flipped, "checksum"},
		{"old format", join(testBatch{magic: 1, values: []string{"a"}}), "format"},
		{"negative length", put32(8, -5), "malformed"},
		{"length that ends before the magic byte", put32(8, 0), "malformed"},
		{"length of a header alone", put32(8, 20), "malformed"},
		{"negative last offset", put32(23, -1), "malformed"},
		{"negative count", put32(57, -1), "malformed"},
		{"count beyond the records", put32(57, 3), "malformed"},
		{"huge count", put32(57, 1<<30), "malformed"},
		{"record offset outside of the batch", put32(23, 0), "outside"},
		{"record length beyond the batch", change(func(raw []byte) { raw[61] = 0x7e }), "malformed"},
		{"empty record", change(func(raw []byte) { raw[61] = 0 }), "malformed"},
		{"unknown codec", join(testBatch{attrs: 5, values: []string{"a"}}), "codec 5"},
		{"garbage as gzip", change(func(raw []byte) { raw[22] = codecGzip }), "gzip"},
		{"garbage as snappy", change(func(raw []byte) { raw[22] = codecSnappy }), "snappy"},
		{"garbage as lz4", change(func(raw []byte) { raw[22] = codecLZ4 }), "lz4"},
		{"garbage as zstd", change(func(raw []byte) { raw[22] = codecZstd }), "zstd"},
		{"gzip bomb", seal(testBatch{attrs: codecGzip}, compress(codecGzip, bomb), 1), "decompresses to more"},
		{"snappy bomb", seal(testBatch{attrs: codecSnappy}, compress(codecSnappy, bomb), 1), "decompresses to more"},
		{"lz4 bomb", seal(testBatch{attrs: codecLZ4}, compress(codecLZ4, bomb), 1), "decompresses to more"},
		{"zstd bomb", seal(testBatch{attrs: codecZstd}, compress(codecZstd, bomb), 1), "decompresses to more"},
		{"marker without a key", seal(testBatch{attrs: attrControl}, encodeRecord(0, nil, nil), 1), "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decode(tt.raw, 0, nil, true)
			var c *CorruptError
			if !errors.As(err, &c) || c.Topic != "t" || c.Partition != 3 || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want a CorruptError with %q", err, tt.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(join(testBatch{base: 1, values: []string{"a", "b"}}, testBatch{base: 3, control: 1}))
	for codec := range int16(5) {
		f.Add(join(testBatch{attrs: codec | attrTransactional, producer: 1, values: []string{"a", "bb", "ccc"}}))
	}
	f.Add(join(testBatch{values: []string{"a"}})[:70])
	f.Fuzz(func(t *testing.T, raw []byte) {
		// A right checksum, so that mutations get behind it.
		if b, _, ok, _ := cut(raw); ok {
			binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
		}
		next, err := nextOffset(raw, 0)
		recs, derr := decode(raw, 0, []abortedTxn{{1, 0}}, true)
		if err != nil || derr != nil {
			return
		}
		for _, r := range recs {
			if r.Offset < 0 || r.Offset >= next {
				t.Errorf("record at %d, next offset %d", r.Offset, next)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	values := make([]string, 500)
	for i := range values {
		values[i] = strings.Repeat("x", 100)
	}
	raw := join(testBatch{values: values})
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	start := time.Now()
	for b.Loop() {
		d := newDecoder(tp("t", 3), raw, 0, nil, true)
		for {
			l, err := d.next(500)
			if err != nil {
				b.Fatal(err)
			}
			if l == nil {
				break
			}
			l.Return()
		}
	}
	b.ReportMetric(float64(b.N)*500/time.Since(start).Seconds(), "records/s")
}
