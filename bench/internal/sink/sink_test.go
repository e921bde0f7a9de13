package sink

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm/bench/internal/records"
)

func listen(t *testing.T) *Broker {
	t.Helper()
	b, err := Listen(3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// TestCountsWhatAClientSends sends with a client that is not ours.
func TestCountsWhatAClientSends(t *testing.T) {
	for name, codec := range map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "zstd": kgo.ZstdCompression()} {
		t.Run(name, func(t *testing.T) {
			b := listen(t)
			b.Deep(true)
			cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.ProducerBatchCompression(codec))
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			const n = 1000
			set := records.NewSet(200)
			set.Fill(0, n)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			for i := range n {
				cl.Produce(ctx, &kgo.Record{Topic: "t", Key: set.Key(i), Value: set.Value(i)}, func(_ *kgo.Record, err error) {
					if err != nil {
						t.Error(err)
					}
				})
			}
			if err := cl.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			c := b.Take("t")
			if c.Records != n || c.Sum != set.Sum(0, n) || c.Bad != "" {
				t.Errorf("got %+v, want %d records with sum %d", c, n, set.Sum(0, n))
			}
			if c := b.Take("t"); c.Records != 0 {
				t.Errorf("%d records are counted twice", c.Records)
			}
		})
	}
}

// batchOf returns a batch of one record, as idempotent producer 7 writes its first.
func batchOf() []byte {
	record := kmsg.Record{Value: []byte("v")}
	record.Length = int32(len(record.AppendTo(nil)) - 1)
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, ProducerID: 7, NumRecords: 1, Records: record.AppendTo(nil),
	}
	b := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(b[offLength:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[offCRC:], crc32.Checksum(b[offAttribute:], castagnoli))
	return b
}

func TestRefusesWhatIsWrong(t *testing.T) {
	good := batchOf()
	for _, tt := range []struct {
		name  string
		spoil func([]byte) []byte
		want  string
	}{
		{"short", func(b []byte) []byte { return b[:40] }, "40 bytes"},
		{"magic", func(b []byte) []byte { b[offMagic] = 1; return b }, "format 1"},
		{"length", func(b []byte) []byte { return append(b, 0) }, "says that it has"},
		{"checksum", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, "checksum"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var topic topic
			topic.partitions = make([]partition, 1)
			if _, err := topic.take(0, tt.spoil(bytes.Clone(good)), true); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error about %q", err, tt.want)
			}
		})
	}
	t.Run("sequence", func(t *testing.T) {
		var topic topic
		topic.partitions = make([]partition, 1)
		if _, err := topic.take(0, good, false); err != nil {
			t.Fatal(err)
		}
		if _, err := topic.take(0, good, false); err == nil || !strings.Contains(err.Error(), "sequence") {
			t.Errorf("a batch came twice: got %v", err)
		}
	})
}
