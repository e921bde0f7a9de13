package produce

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
)

// modelLog is one partition as Kafka's brokers keep it: its records, and for
// each producer id the epoch and the last five batches.
type modelLog struct {
	refs      []uint64
	producers map[int64]*modelProducer
	// Of transactional records, by offset: their producer and what became of
	// their transaction. Markers take no offset here.
	writers map[int64]int64
	fates   map[int64]bool // true: committed
}

type modelProducer struct {
	epoch int16
	next  int32
	last  []modelEntry
}

type modelEntry struct {
	first, count int32
	offset       int64
}

// modelBatch is a batch as a broker reads it.
type modelBatch struct {
	topic     string
	partition int32
	header    kmsg.RecordBatch
	raw       []byte
	refs      []uint64
	implicit  bool // may add its partition to the transaction
}

// readModelBatch checks a batch as Kafka's brokers do. Records carry their refs
// as the first eight bytes of their values.
func readModelBatch(topic string, partition int32, raw []byte) (*modelBatch, error) {
	b := &modelBatch{topic: topic, partition: partition, raw: slices.Clone(raw)}
	h := &b.header
	if err := h.ReadFrom(b.raw); err != nil {
		return nil, err
	}
	switch {
	case h.Magic != 2:
		return nil, fmt.Errorf("magic %d", h.Magic)
	case int(h.Length) != len(raw)-12:
		return nil, fmt.Errorf("length %d in %d bytes", h.Length, len(raw))
	case uint32(h.CRC) != crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)):
		return nil, fmt.Errorf("wrong CRC")
	case h.LastOffsetDelta != h.NumRecords-1:
		return nil, fmt.Errorf("last offset delta %d of %d records", h.LastOffsetDelta, h.NumRecords)
	case h.FirstOffset != 0 || h.PartitionLeaderEpoch != -1:
		return nil, fmt.Errorf("base offset %d, leader epoch %d", h.FirstOffset, h.PartitionLeaderEpoch)
	}
	records, err := decompress(codec(h.Attributes&7), nil, h.Records)
	if err != nil {
		return nil, err
	}
	for i := range h.NumRecords {
		length, n := binary.Varint(records)
		if n <= 0 || int(length) > len(records)-n {
			return nil, fmt.Errorf("record %d: length %d", i, length)
		}
		r := kmsg.NewRecord()
		if err := r.ReadFrom(records[:n+int(length)]); err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
		if r.OffsetDelta != i || len(r.Value) < 8 {
			return nil, fmt.Errorf("record %d: offset delta %d, value %q", i, r.OffsetDelta, r.Value)
		}
		if ts := h.FirstTimestamp + r.TimestampDelta64; ts > h.MaxTimestamp {
			return nil, fmt.Errorf("record %d: timestamp %d over the maximum %d", i, ts, h.MaxTimestamp)
		}
		b.refs = append(b.refs, binary.BigEndian.Uint64(r.Value))
		records = records[n+int(length):]
	}
	if len(records) > 0 {
		return nil, fmt.Errorf("%d bytes after the last record", len(records))
	}
	return b, nil
}

// append writes the batch or refuses it, by the rules of KIP-98 and KIP-360.
func (l *modelLog) append(b *modelBatch) (klamm.Code, int64) {
	offset := int64(len(l.refs))
	h := &b.header
	if h.ProducerID < 0 {
		l.refs = append(l.refs, b.refs...)
		return klamm.CodeNone, offset
	}
	p := l.producers[h.ProducerID]
	switch {
	case p == nil && h.FirstSequence != 0 && len(l.refs) == 0: // KAFKA-15591
		return klamm.CodeOutOfOrderSequenceNumber, -1
	case p == nil:
		p = &modelProducer{epoch: h.ProducerEpoch}
		if l.producers == nil {
			l.producers = map[int64]*modelProducer{}
		}
		l.producers[h.ProducerID] = p
	case h.ProducerEpoch < p.epoch:
		return klamm.CodeInvalidProducerEpoch, -1
	case h.ProducerEpoch > p.epoch:
		if h.FirstSequence != 0 {
			return klamm.CodeOutOfOrderSequenceNumber, -1
		}
		*p = modelProducer{epoch: h.ProducerEpoch}
	default:
		for _, e := range p.last {
			if e.first == h.FirstSequence && e.count == h.NumRecords {
				return klamm.CodeNone, e.offset
			}
		}
		if h.FirstSequence != p.next {
			return klamm.CodeOutOfOrderSequenceNumber, -1
		}
	}
	p.next = int32((int64(h.FirstSequence) + int64(h.NumRecords)) & math.MaxInt32)
	p.last = append(p.last, modelEntry{h.FirstSequence, h.NumRecords, offset})
	if len(p.last) > 5 {
		p.last = p.last[1:]
	}
	if h.Attributes&transactionalBit != 0 {
		if l.writers == nil {
			l.writers, l.fates = map[int64]int64{}, map[int64]bool{}
		}
		for i := range b.refs {
			l.writers[offset+int64(i)] = h.ProducerID
		}
	}
	l.refs = append(l.refs, b.refs...)
	return klamm.CodeNone, offset
}

// mark ends what the producer has written in a transaction. The marker's epoch
// counts for what comes later.
func (l *modelLog) mark(producerID int64, epoch int16, commit bool) {
	for offset, id := range l.writers {
		if _, ended := l.fates[offset]; !ended && id == producerID {
			l.fates[offset] = commit
		}
	}
	if p := l.producers[producerID]; p != nil && epoch > p.epoch {
		*p = modelProducer{epoch: epoch}
	} else if p == nil {
		if l.producers == nil {
			l.producers = map[int64]*modelProducer{}
		}
		l.producers[producerID] = &modelProducer{epoch: epoch}
	}
}

// committed returns what a reader of committed records sees. Records of a
// transaction that is open hide all behind them.
func (l *modelLog) committed() (refs []uint64, open bool) {
	for offset, ref := range l.refs {
		if _, transactional := l.writers[int64(offset)]; transactional {
			fate, ended := l.fates[int64(offset)]
			if !ended {
				return refs, true
			}
			if !fate {
				continue
			}
		}
		refs = append(refs, ref)
	}
	return refs, false
}
