package sink

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm/bench/internal/records"
)

// topic is what the sink knows of one. It is guarded by Broker.mu.
type topic struct {
	partitions []partition
	count      Count
}

type partition struct {
	end int64 // the next offset
	// next is the sequence that each producer has to go on with.
	next map[int64]int32
}

func (b *Broker) topic(name string) *topic {
	t := b.topics[name]
	if t == nil {
		t = &topic{partitions: make([]partition, b.partitions)}
		b.topics[name] = t
	}
	return t
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Where things are in the header of a record batch of format v2 (KIP-98).
const (
	headerSize   = 61
	offLength    = 8
	offMagic     = 16
	offCRC       = 17
	offAttribute = 21
	offProducer  = 43
	offSequence  = 53
	offCount     = 57
)

// take takes one batch for a partition and returns its offset.
func (t *topic) take(id int32, b []byte, deep bool) (int64, error) {
	if id < 0 || int(id) >= len(t.partitions) {
		return 0, fmt.Errorf("there are %d partitions", len(t.partitions))
	}
	if err := checkHeader(b); err != nil {
		return 0, err
	}
	be := binary.BigEndian
	p := &t.partitions[id]
	n := int32(be.Uint32(b[offCount:]))
	if err := p.sequence(int64(be.Uint64(b[offProducer:])), int32(be.Uint32(b[offSequence:])), n); err != nil {
		return 0, err
	}
	if deep {
		sum, err := sumOf(b, int(n))
		if err != nil {
			return 0, err
		}
		t.count.Sum += sum
	}
	base := p.end
	p.end += int64(n)
	t.count.Records += int64(n)
	t.count.Batches++
	t.count.Bytes += int64(len(b))
	return base, nil
}

func checkHeader(b []byte) error {
	be := binary.BigEndian
	switch {
	case len(b) < headerSize:
		return fmt.Errorf("a batch of %d bytes", len(b))
	case b[offMagic] != 2:
		return fmt.Errorf("a batch of format %d", b[offMagic])
	case int(be.Uint32(b[offLength:])) != len(b)-12:
		return fmt.Errorf("a batch of %d bytes says that it has %d", len(b)-12, be.Uint32(b[offLength:]))
	case be.Uint32(b[offCRC:]) != crc32.Checksum(b[offAttribute:], castagnoli):
		return fmt.Errorf("a batch's checksum is wrong")
	case int32(be.Uint32(b[offCount:])) < 1:
		return fmt.Errorf("a batch of %d records", int32(be.Uint32(b[offCount:])))
	}
	return nil
}

// sequence checks that a producer's batches come one after the other.
func (p *partition) sequence(producer int64, base, n int32) error {
	if producer < 0 {
		return nil
	}
	if p.next == nil {
		p.next = map[int64]int32{}
	}
	if want := p.next[producer]; base != want {
		return fmt.Errorf("producer %d sent sequence %d, not %d", producer, base, want)
	}
	p.next[producer] = (base + n) & (1<<31 - 1)
	return nil
}

// sumOf reads the records and returns the sum of their checksums.
func sumOf(b []byte, want int) (uint64, error) {
	var batch kmsg.RecordBatch
	if err := batch.ReadFrom(b); err != nil {
		return 0, err
	}
	raw, err := kgo.DefaultDecompressor().Decompress(batch.Records, kgo.CompressionCodecType(batch.Attributes&7))
	if err != nil {
		return 0, fmt.Errorf("decompress a batch: %w", err)
	}
	sum, got := uint64(0), 0
	for ; len(raw) > 0; got++ {
		size, n := binary.Varint(raw)
		if n <= 0 || size < 0 || int(size) > len(raw)-n {
			return 0, fmt.Errorf("record %d has no valid length", got)
		}
		var r kmsg.Record
		if err := r.ReadFrom(raw[:n+int(size)]); err != nil {
			return 0, fmt.Errorf("record %d: %w", got, err)
		}
		sum += records.Checksum(r.Key, r.Value)
		raw = raw[n+int(size):]
	}
	if got != want {
		return 0, fmt.Errorf("a batch of %d records says that it has %d", got, want)
	}
	return sum, nil
}
