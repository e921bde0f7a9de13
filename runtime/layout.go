package runtime

import "github.com/klamm-io/klamm/sdk/abi"

// layout is where the parts of an encoded block lie, from its start.
type layout struct {
	verdicts int
	topics   int
	records  int
	mod      int // modification area
	modCap   int
}

// layout lays out the block. The modification area takes what is left of
// capacity, up to modMax.
func (b *Block) layout(capacity, modMax int) layout {
	l := layout{verdicts: b.headSize}
	l.topics = l.verdicts + len(b.starts)*abi.VerdictSize
	l.records = b.prefix(len(b.starts))
	l.mod = l.records + len(b.recs)
	l.modCap = min(capacity-l.mod, modMax) &^ 7
	return l
}

// encode writes the block into dst, which holds at least l.mod bytes. The
// modification area is not touched.
func (b *Block) encode(dst []byte, l layout) {
	b.encodeHeader(dst, l)
	clear(dst[l.verdicts:l.topics])
	b.encodeTopics(dst, l.topics)
	copy(dst[l.records:l.mod], b.recs)
}

func (b *Block) encodeHeader(dst []byte, l layout) {
	magic, flags, topics := abi.MagicBatch, uint32(0), len(b.topics)
	if b.ack {
		magic = abi.MagicAck
	}
	if b.Stretched {
		flags |= unknownFlag
		topics++
	}
	le.PutUint32(dst[abi.BatchMagic:], magic)
	le.PutUint16(dst[abi.BatchSize:], uint16(b.headSize))
	le.PutUint16(dst[abi.BatchRecordSize:], uint16(b.recSize))
	le.PutUint32(dst[abi.BatchCount:], uint32(len(b.starts)))
	le.PutUint32(dst[abi.BatchFlags:], flags)
	le.PutUint32(dst[abi.BatchRecOff:], uint32(l.records))
	le.PutUint32(dst[abi.BatchVerdictOff:], uint32(l.verdicts))
	le.PutUint32(dst[abi.BatchModOff:], uint32(l.mod))
	le.PutUint32(dst[abi.BatchModCap:], uint32(l.modCap))
	le.PutUint32(dst[abi.BatchTopicsOff:], uint32(l.topics))
	le.PutUint32(dst[abi.BatchTopicsCount:], uint32(topics))
	le.PutUint64(dst[abi.BatchNowMS:], uint64(b.nowMS))
	clear(dst[abi.BatchReserved:abi.BatchHeaderSize]) // and what the guest writes: done
	for i := abi.BatchHeaderSize; i < b.headSize; i++ {
		dst[i] = stretchFill
	}
}

// encodeTopics writes the table of topics at off, their facts behind it.
func (b *Block) encodeTopics(dst []byte, off int) {
	entries := len(b.topics)
	if b.Stretched {
		clear(dst[off+entries*abi.TopicEntrySize : off+(entries+1)*abi.TopicEntrySize])
		entries++
	}
	next := off + entries*abi.TopicEntrySize
	put := func(from, n int) (at int) {
		if n == 0 {
			return 0
		}
		at = next
		copied := copy(dst[at:], b.facts[from:from+n])
		next += abi.Align8(n)
		clear(dst[at+copied : next])
		return at
	}
	for i := range b.topics {
		t := &b.topics[i]
		e := dst[off+i*abi.TopicEntrySize:]
		le.PutUint32(e[abi.TopNameOff:], uint32(put(t.nameOff, t.nameLen)))
		le.PutUint32(e[abi.TopNameLen:], uint32(t.nameLen))
		le.PutUint32(e[abi.TopPartitions:], t.partitions)
		le.PutUint32(e[abi.TopAvailOff:], uint32(put(t.availOff, t.availLen)))
		le.PutUint32(e[abi.TopLoadOff:], uint32(put(t.loadOff, t.loadLen)))
		le.PutUint32(e[abi.TopEpoch:], t.epoch)
	}
}

// inPlace returns where the value of record i lies in the encoded block, and
// whether it is in it.
func (b *Block) inPlace(l layout, i int) (off, n int, ok bool) {
	at := int(b.starts[i])
	r := b.recs[at:]
	valueOff, valueLen := le.Uint32(r[abi.RecValueOff:]), le.Uint32(r[abi.RecValueLen:])
	if valueOff == 0 || valueLen == null {
		return 0, 0, false
	}
	return l.records + at + int(valueOff), int(valueLen), true
}
