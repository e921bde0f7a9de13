package produce

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/klamm-io/klamm"
)

// genRecords draws records with everything that has a special encoding: null
// and empty keys, values and header values, doubled header keys, timestamps
// that go back.
func genRecords(t *rapid.T) []Record {
	bytesOrNil := rapid.Custom(func(t *rapid.T) []byte {
		if rapid.IntRange(0, 3).Draw(t, "null") == 0 {
			return nil
		}
		return append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes")...)
	})
	header := rapid.Custom(func(t *rapid.T) klamm.Header {
		return klamm.Header{Key: rapid.StringN(0, 20, 80).Draw(t, "key"), Value: bytesOrNil.Draw(t, "value")}
	})
	record := rapid.Custom(func(t *rapid.T) Record {
		return Record{
			TimestampMS: 1_700_000_000_000 + rapid.Int64Range(-1<<40, 1<<40).Draw(t, "timestamp"),
			Key:         bytesOrNil.Draw(t, "key"),
			Value:       bytesOrNil.Draw(t, "value"),
			Headers:     rapid.SliceOfN(header, 0, 4).Draw(t, "headers"),
		}
	})
	return rapid.SliceOfN(record, 1, 20).Draw(t, "records")
}

// encodeBatch puts records in a batch as the accumulator does, and seals it.
func encodeBatch(records []Record, c codec, h batchHeader) []byte {
	p := &Pipeline{}
	p.set.codec = c
	var err error
	if p.compressor, err = newCompressor(c, 0); err != nil {
		panic(err)
	}
	b := &batch{part: &partition{topic: &topic{}}, buf: p.pool.get(batchOverhead)}
	b.buf.b = b.buf.b[:batchOverhead]
	b.header = h
	b.header.baseTimestamp, b.header.maxTimestamp = records[0].TimestampMS, records[0].TimestampMS
	for i := range records {
		r := &records[i]
		size := headSize(r.TimestampMS-b.header.baseTimestamp, b.header.count) + bodySize(r.Key, r.Value, r.Headers)
		before := b.size()
		b.grow(&p.pool, size+varintSize(int64(size)))
		body := b.add(r.TimestampMS, r.Ref, r.Reserved, size, size+varintSize(int64(size)))
		if _, _, end := putBody(body, r.Key, r.Value, r.Headers); end != len(body) {
			panic(fmt.Sprintf("a body of %d bytes took %d", len(body), end))
		}
		if got := b.size() - before; got != size+varintSize(int64(size)) {
			panic(fmt.Sprintf("a record of size %d took %d bytes", size, got))
		}
		if bound := UpperBound(len(r.Key), len(r.Value), r.Headers); b.size()-before+8 > bound {
			panic(fmt.Sprintf("a record of %d bytes exceeds its bound %d", b.size()-before, bound))
		}
	}
	b.seal(p)
	return b.buf.b
}

// kgoDecode reads a batch with franz-go.
func kgoDecode(t interface{ Fatalf(string, ...any) }, raw []byte) []*kgo.Record {
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.RecordBatches = raw
	rp.HighWatermark = math.MaxInt64
	fp, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t"}, &rp, kgo.DefaultDecompressor(), nil)
	if fp.Err != nil {
		t.Fatalf("franz-go does not read the batch: %v", fp.Err)
	}
	return fp.Records
}

func sameBytes(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

func TestEncodedRecordsAreReadByFranzGo(t *testing.T) {
	for _, c := range []codec{codecNone, codecGzip, codecSnappy, codecLZ4, codecZstd} {
		t.Run(fmt.Sprintf("codec=%d", c), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				records := genRecords(t)
				raw := encodeBatch(records, c, batchHeader{producerID: 7, producerEpoch: 3, baseSequence: 11})
				got := kgoDecode(t, raw)
				if len(got) != len(records) {
					t.Fatalf("%d records, want %d", len(got), len(records))
				}
				for i, g := range got {
					w := records[i]
					if !sameBytes(g.Key, w.Key) || !sameBytes(g.Value, w.Value) || g.Timestamp.UnixMilli() != w.TimestampMS {
						t.Fatalf("record %d: got %q=%q at %d, want %q=%q at %d", i, g.Key, g.Value, g.Timestamp.UnixMilli(), w.Key, w.Value, w.TimestampMS)
					}
					if len(g.Headers) != len(w.Headers) {
						t.Fatalf("record %d: %d headers, want %d", i, len(g.Headers), len(w.Headers))
					}
					for j, h := range g.Headers {
						if h.Key != w.Headers[j].Key || !sameBytes(h.Value, w.Headers[j].Value) {
							t.Fatalf("record %d header %d: got %q=%q, want %q=%q", i, j, h.Key, h.Value, w.Headers[j].Key, w.Headers[j].Value)
						}
					}
					if g.ProducerID != 7 || g.ProducerEpoch != 3 {
						t.Fatalf("producer %d/%d, want 7/3", g.ProducerID, g.ProducerEpoch)
					}
				}
				var h kmsg.RecordBatch
				if err := h.ReadFrom(raw); err != nil {
					t.Fatal(err)
				}
				if h.FirstSequence != 11 || h.NumRecords != int32(len(records)) || h.FirstTimestamp != records[0].TimestampMS {
					t.Fatalf("header %+v", h)
				}
			})
		})
	}
}

// TestEncodedBatchEqualsSaramas compares whole batches, header and all, with
// what sarama writes.
func TestEncodedBatchEqualsSaramas(t *testing.T) {
	s := startSaramaWriter(t)
	rapid.Check(t, func(t *rapid.T) {
		records := genRecords(t)
		ours := encodeBatch(records, codecNone, batchHeader{producerID: 1 << 40, producerEpoch: 12, baseSequence: 99})
		b := &sarama.RecordBatch{
			PartitionLeaderEpoch: -1, Version: 2, ProducerID: 1 << 40, ProducerEpoch: 12, FirstSequence: 99,
			LastOffsetDelta: int32(len(records) - 1),
			FirstTimestamp:  time.UnixMilli(records[0].TimestampMS), MaxTimestamp: time.UnixMilli(records[0].TimestampMS),
		}
		for i, r := range records {
			at := time.UnixMilli(r.TimestampMS)
			if at.After(b.MaxTimestamp) {
				b.MaxTimestamp = at
			}
			sr := &sarama.Record{TimestampDelta: at.Sub(b.FirstTimestamp), OffsetDelta: int64(i), Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				sr.Headers = append(sr.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
			}
			b.Records = append(b.Records, sr)
		}
		if theirs := s.write(t, b); !bytes.Equal(ours, theirs) {
			t.Fatalf("got\n%x\nwant\n%x", ours, theirs)
		}
	})
}

// saramaWriter gets the bytes of sarama's encoder, which it does not export,
// off the wire.
type saramaWriter struct {
	broker *sarama.Broker
	frames chan []byte
}

func startSaramaWriter(t *testing.T) *saramaWriter {
	ours, theirs := net.Pipe()
	s := &saramaWriter{frames: make(chan []byte), broker: sarama.NewBroker("pipe:1")}
	conf := sarama.NewConfig()
	conf.Version = sarama.V4_0_0_0
	conf.ApiVersionsRequest = false
	conf.Net.Proxy.Enable = true
	conf.Net.Proxy.Dialer = pipeDialer{ours}
	if err := s.broker.Open(conf); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.broker.Connected(); !ok {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			var head [4]byte
			if _, err := io.ReadFull(theirs, head[:]); err != nil {
				return
			}
			body := make([]byte, binary.BigEndian.Uint32(head[:]))
			if _, err := io.ReadFull(theirs, body); err != nil {
				return
			}
			s.frames <- body
		}
	}()
	t.Cleanup(func() { s.broker.Close(); theirs.Close(); <-done })
	return s
}

type pipeDialer struct{ conn net.Conn }

func (d pipeDialer) Dial(string, string) (net.Conn, error) { return d.conn, nil }

func (s *saramaWriter) write(t interface{ Fatalf(string, ...any) }, b *sarama.RecordBatch) []byte {
	req := &sarama.ProduceRequest{Version: 7, RequiredAcks: sarama.NoResponse, Timeout: 1000}
	req.AddBatch("t", 0, b)
	failed := make(chan error, 1)
	go func() { _, err := s.broker.Produce(req); failed <- err }()
	frame := <-s.frames
	if err := <-failed; err != nil {
		t.Fatalf("sarama: %v", err)
	}
	kreq := kmsg.NewPtrProduceRequest()
	kreq.Version = 7
	if err := kreq.ReadFrom(frame[10+int(binary.BigEndian.Uint16(frame[8:])):]); err != nil {
		t.Fatalf("sarama's request: %v", err)
	}
	return kreq.Topics[0].Partitions[0].Records
}

// TestFrameIsReadByKmsg decodes requests of every version with franz-go's
// kmsg.
func TestFrameIsReadByKmsg(t *testing.T) {
	topics := []*topic{{name: "a"}, {name: "b-longer-name", index: 1}}
	var batches []*batch
	for i := range 5 {
		b := &batch{part: &partition{topic: topics[i/3], id: int32(i * 100)}, buf: &buffer{b: bytes.Repeat([]byte{byte(i)}, 70+i*1000)}}
		batches = append(batches, b)
	}
	var f frame
	for version := int16(minProduceVersion); version <= maxProduceVersion; version++ {
		pieces := f.encode(version, 77, "a client", -1, 30*time.Second, batches)
		var raw []byte
		for _, p := range pieces {
			raw = append(raw, p...)
		}
		if int(binary.BigEndian.Uint32(raw))+4 != len(raw) {
			t.Fatalf("version %d: length %d in a frame of %d bytes", version, binary.BigEndian.Uint32(raw), len(raw))
		}
		req := kmsg.NewPtrProduceRequest()
		req.Version = version
		head := 4 + 2 + 2 + 4 + 2 + len("a client")
		if req.IsFlexible() {
			head++
		}
		if err := req.ReadFrom(raw[head:]); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if !bytes.Equal(req.AppendTo(slices.Clone(raw[:head])), raw) {
			t.Errorf("version %d: kmsg writes other bytes", version)
		}
		if req.Acks != -1 || req.TimeoutMillis != 30_000 || req.TransactionID != nil {
			t.Errorf("version %d: acks %d timeout %d", version, req.Acks, req.TimeoutMillis)
		}
		var got []string
		for _, tp := range req.Topics {
			for _, p := range tp.Partitions {
				got = append(got, fmt.Sprintf("%s/%d:%d:%d", tp.Topic, p.Partition, len(p.Records), p.Records[0]))
			}
		}
		want := []string{"a/0:70:0", "a/100:1070:1", "a/200:2070:2", "b-longer-name/300:3070:3", "b-longer-name/400:4070:4"}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: got %v, want %v", version, got, want)
		}
	}
}

func TestC109_SequenceNumbersWrap(t *testing.T) {
	tests := []struct{ s, n, want int32 }{
		{0, 1, 1}, {math.MaxInt32, 1, 0}, {math.MaxInt32, 100, 99}, {math.MaxInt32 - 1, 1, math.MaxInt32}, {math.MaxInt32, math.MaxInt32, math.MaxInt32 - 1},
	}
	for _, tt := range tests {
		if got := addSequence(tt.s, tt.n); got != tt.want {
			t.Errorf("addSequence(%d, %d) = %d, want %d", tt.s, tt.n, got, tt.want)
		}
		if !sequenceAfter(tt.want, tt.s) && tt.n < 1<<30 {
			t.Errorf("%d does not come after %d", tt.want, tt.s)
		}
	}
	if sequenceAfter(5, 5) || sequenceAfter(math.MaxInt32, 3) {
		t.Error("sequenceAfter takes an earlier one for a later one")
	}
}

// FuzzRecords: whatever the records are, franz-go reads back what we wrote, and
// splitting a batch keeps every record.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), "header", []byte("h"), int64(5), uint8(3), uint8(0))
	f.Add([]byte{}, []byte(nil), "", []byte(nil), int64(-1<<50), uint8(1), uint8(4))
	f.Fuzz(func(t *testing.T, key, value []byte, headerKey string, headerValue []byte, delta int64, count, c uint8) {
		if delta > 1<<60 || delta < -1<<60 {
			return // beyond what a timestamp holds
		}
		records := make([]Record, int(count%50)+1)
		for i := range records {
			records[i] = Record{TimestampMS: 1000 + delta*int64(i%2), Key: key, Value: value, Headers: []klamm.Header{{Key: headerKey, Value: headerValue}}}
		}
		got := kgoDecode(t, encodeBatch(records, codec(c%5), batchHeader{producerID: -1, producerEpoch: -1, baseSequence: -1}))
		if len(got) != len(records) {
			t.Fatalf("%d records, want %d", len(got), len(records))
		}
		for _, g := range got {
			if !bytes.Equal(g.Key, key) || !bytes.Equal(g.Value, value) || g.Headers[0].Key != headerKey || !bytes.Equal(g.Headers[0].Value, headerValue) {
				t.Fatalf("got %q=%q %v", g.Key, g.Value, g.Headers)
			}
		}
	})
}

// A body lies in a batch as it was encoded before, and key, value and headers are
// found in it.
func TestBodyAheadOfItsBatch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	some := func() []byte {
		if rnd.IntN(4) == 0 {
			return nil
		}
		b := make([]byte, rnd.IntN(300))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	for range 2000 {
		r := Record{TimestampMS: rnd.Int64N(1 << 41), Key: some(), Value: some()}
		for range rnd.IntN(4) {
			r.Headers = append(r.Headers, klamm.Header{Key: strings.Repeat("k", rnd.IntN(200)), Value: some()})
		}
		dst := make([]byte, UpperBound(len(r.Key), len(r.Value), r.Headers))
		keyAt, valueAt, size := PutBody(dst, r.Key, r.Value, r.Headers)
		if size != bodySize(r.Key, r.Value, r.Headers) {
			t.Fatalf("%d bytes, want %d", size, bodySize(r.Key, r.Value, r.Headers))
		}
		if n := len(r.Key); n > 0 && string(dst[keyAt:keyAt+n]) != string(r.Key) {
			t.Fatal("the key is not where it should be")
		}
		if n := len(r.Value); n > 0 && string(dst[valueAt:valueAt+n]) != string(r.Value) {
			t.Fatal("the value is not where it should be")
		}
		end := size
		for i := len(r.Headers) - 1; i >= 0; i-- {
			end -= HeaderSize(&r.Headers[i])
		}
		if want := bodySize(r.Key, r.Value, nil) - 1 + varintSize(int64(len(r.Headers))); end != want {
			t.Fatalf("headers begin at %d, want %d", end, want)
		}
	}
}
