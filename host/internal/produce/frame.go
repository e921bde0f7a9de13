package produce

import (
	"encoding/binary"
	"net"
	"time"
)

// Versions of Produce (api key 0) that we write: 3 is the first with record
// batches of format v2, 11 the last without a transaction's implicit
// partitions, 12 the same with them (KIP-890). What they added: 5 log start offset, 7 zstd, 8 errors of single
// records (KIP-467), 9 flexible fields, 10 the current leader (KIP-951).
const (
	produceKey        = 0
	minProduceVersion = 3
	maxProduceVersion = 11
	implicitVersion   = 12 // for transactions of version 2 alone
	firstFlexible     = 9
	firstZstd         = 7
)

// maxFrame bounds a request in bytes, as brokers do by default
// (socket.request.max.bytes). maxResponse bounds a response, which has some
// tens of bytes for each partition and what brokers say about errors.
const (
	maxFrame    = 100 << 20
	maxResponse = 8 << 20
)

// frame is a Produce request as the pieces that go out together: what we
// write, and between them the batches where they lie. It is used again.
type frame struct {
	transactionalID string

	own    []byte
	cuts   []int // own is cut there, and a batch goes in between
	pieces net.Buffers
}

// encode makes the request of batches, which are sorted by topic. The pieces
// are valid until the next call.
func (f *frame) encode(version int16, correlationID int32, clientID string, acks int16, timeout time.Duration, all []*batch) net.Buffers {
	be := binary.BigEndian
	flexible := version >= firstFlexible
	b := append(f.own[:0], 0, 0, 0, 0) // length
	b = be.AppendUint16(b, produceKey)
	b = be.AppendUint16(b, uint16(version))
	b = be.AppendUint32(b, uint32(correlationID))
	b = be.AppendUint16(b, uint16(len(clientID)))
	b = append(b, clientID...)
	if flexible {
		b = append(b, 0) // no header tags
	}
	switch {
	case f.transactionalID != "":
		b = appendString(b, flexible, f.transactionalID)
	case flexible:
		b = append(b, 0) // null
	default:
		b = append(b, 0xff, 0xff)
	}
	b = be.AppendUint16(b, uint16(acks))
	b = be.AppendUint32(b, uint32(timeout.Milliseconds()))

	f.cuts = f.cuts[:0]
	b = appendCount(b, flexible, topicCount(all))
	total := 0
	for batches := all; len(batches) > 0; {
		of := sameTopic(batches)
		b = appendString(b, flexible, of[0].part.topic.name)
		b = appendCount(b, flexible, len(of))
		for _, x := range of {
			b = be.AppendUint32(b, uint32(x.part.id))
			if flexible {
				b = binary.AppendUvarint(b, uint64(x.size())+1)
			} else {
				b = be.AppendUint32(b, uint32(x.size()))
			}
			f.cuts = append(f.cuts, len(b))
			total += x.size()
			if flexible {
				b = append(b, 0) // no tags
			}
		}
		if flexible {
			b = append(b, 0)
		}
		batches = batches[len(of):]
	}
	if flexible {
		b = append(b, 0)
	}
	be.PutUint32(b, uint32(len(b)-4+total))
	f.own = b
	return f.interleave(all)
}

// interleave puts the batches where own is cut.
func (f *frame) interleave(batches []*batch) net.Buffers {
	pieces := f.pieces[:0]
	from := 0
	for i, cut := range f.cuts {
		pieces = append(pieces, f.own[from:cut], batches[i].buf.b)
		from = cut
	}
	if from < len(f.own) {
		pieces = append(pieces, f.own[from:])
	}
	f.pieces = pieces
	return pieces
}

// sameTopic returns the batches in front that are of one topic.
func sameTopic(batches []*batch) []*batch {
	n := 1
	for n < len(batches) && batches[n].part.topic == batches[0].part.topic {
		n++
	}
	return batches[:n]
}

func topicCount(batches []*batch) int {
	n := 0
	for i, b := range batches {
		if i == 0 || b.part.topic != batches[i-1].part.topic {
			n++
		}
	}
	return n
}

func appendCount(b []byte, flexible bool, n int) []byte {
	if flexible {
		return binary.AppendUvarint(b, uint64(n)+1)
	}
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

func appendString(b []byte, flexible bool, s string) []byte {
	if flexible {
		b = binary.AppendUvarint(b, uint64(len(s))+1)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	}
	return append(b, s...)
}
