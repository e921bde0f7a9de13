package produce

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"pgregory.net/rapid"

	"github.com/klamm-io/klamm"
)

// bytesOf joins a frame's pieces.
func bytesOf(pieces [][]byte) []byte { return bytes.Join(pieces, nil) }

// TestFrameEqualsSaramas: whole requests, of every version that both write, are
// byte for byte what sarama makes of the same records, epochs and sequences. The
// batches went through plainTransport's reader, so that one is held against the
// records as well.
func TestFrameEqualsSaramas(t *testing.T) {
	s := startSaramaWriter(t)
	plain := &plainTransport{}
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.Int16Range(minProduceVersion, maxSaramaVersion).Draw(t, "version")
		head := batchHeader{
			producerID:    rapid.Int64Min(-1).Draw(t, "producer id"),
			producerEpoch: rapid.Int16Min(-1).Draw(t, "epoch"),
			baseSequence:  rapid.Int32Min(-1).Draw(t, "sequence"),
		}
		records := genRecords(t)
		b := &batch{part: &partition{topic: &topic{name: rapid.StringMatching("[a-z]{1,200}").Draw(t, "topic")}, id: rapid.Int32Min(0).Draw(t, "partition")}}
		b.buf = &buffer{b: encodeBatch(records, codecNone, head)}
		timeout := time.Duration(rapid.Int32Min(0).Draw(t, "timeout")) * time.Millisecond
		var f frame
		ours := bytes.Clone(bytesOf(f.encode(version, 1, "sarama", 0, timeout, []*batch{b})))

		_, req, err := readProduce(ours)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := plain.toSarama(req)
		if err != nil {
			t.Fatal(err)
		}
		got := s.frame(t, theirs)
		// The correlation id is each side's own.
		binary.BigEndian.PutUint32(got[4:], 1)
		if !bytes.Equal(ours[4:], got) {
			t.Fatalf("version %d: got\n%x\nsarama writes\n%x", version, ours[4:], got)
		}
	})
}

// frame returns what sarama puts on the wire, after the length.
func (s *saramaWriter) frame(t interface{ Fatalf(string, ...any) }, req *sarama.ProduceRequest) []byte {
	failed := make(chan error, 1)
	go func() { _, err := s.broker.Produce(req); failed <- err }()
	frame := <-s.frames
	if err := <-failed; err != nil {
		t.Fatalf("sarama: %v", err)
	}
	return frame
}

// FuzzBatchIsReadForSarama: what plainTransport reads of a batch is what was
// encoded, with every codec.
func FuzzBatchIsReadForSarama(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), "header", []byte("h"), int64(5), uint8(3), uint8(0), int64(7), int16(1), int32(9))
	f.Add([]byte{}, []byte(nil), "", []byte(nil), int64(-1000), uint8(1), uint8(4), int64(-1), int16(-1), int32(-1))
	f.Add(bytes.Repeat([]byte("a"), 300), []byte{0}, "é", []byte{}, int64(0), uint8(40), uint8(3), int64(1<<40), int16(32767), int32(1<<31-1))
	f.Fuzz(func(t *testing.T, key, value []byte, headerKey string, headerValue []byte, delta int64, count, c uint8, pid int64, epoch int16, sequence int32) {
		if delta > 1<<40 || delta < -1<<40 {
			return // sarama's times are durations
		}
		records := make([]Record, int(count%50)+1)
		for i := range records {
			records[i] = Record{TimestampMS: 1<<41 + delta*int64(i%2), Key: key, Value: value, Headers: []klamm.Header{{Key: headerKey, Value: headerValue}}}
		}
		raw := encodeBatch(records, codec(c%5), batchHeader{producerID: pid, producerEpoch: epoch, baseSequence: sequence})
		got, err := new(plainTransport).batch(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got.ProducerID != pid || got.ProducerEpoch != epoch || got.FirstSequence != sequence || len(got.Records) != len(records) || int(got.LastOffsetDelta) != len(records)-1 {
			t.Fatalf("got %+v", got)
		}
		for i, r := range got.Records {
			w := records[i]
			if !sameBytes(r.Key, w.Key) || !sameBytes(r.Value, w.Value) || got.FirstTimestamp.Add(r.TimestampDelta).UnixMilli() != w.TimestampMS || r.OffsetDelta != int64(i) ||
				len(r.Headers) != 1 || string(r.Headers[0].Key) != headerKey || !sameBytes(r.Headers[0].Value, headerValue) {
				t.Fatalf("record %d: got %+v, want %+v", i, r, w)
			}
		}
	})
}

// TestPlainTransportRefuses: a frame that is broken is an error, not a panic.
func TestPlainTransportRefuses(t *testing.T) {
	b := &batch{part: &partition{topic: &topic{name: "t"}}, buf: &buffer{b: encodeBatch([]Record{{TimestampMS: 1, Value: []byte("v")}}, codecNone, batchHeader{})}}
	var f frame
	whole := bytes.Clone(bytesOf(f.encode(9, 1, "c", -1, time.Second, []*batch{b})))
	for n := range len(whole) {
		_, req, err := readProduce(whole[:n])
		if err == nil {
			_, err = new(plainTransport).toSarama(req)
		}
		if err == nil {
			t.Errorf("%d of %d bytes were taken for a request", n, len(whole))
		}
	}
	broken := bytes.Clone(b.buf.b)
	broken[batchOverhead] += 2
	if _, err := new(plainTransport).batch(broken); err == nil {
		t.Error("a record with a wrong length was taken")
	}
}
