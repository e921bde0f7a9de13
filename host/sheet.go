package host

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/klamm-io/klamm"
)

// sheet is what became of the records of one input partition since a copy began.
//
// It is committed as the metadata of the partition's offset, in the transaction
// that has the records and the offset: whatever dies, and whoever goes on, the
// figures are those of what was committed.
type sheet struct {
	start, end int64 // offsets of the copy: what comes later is not its
	position   int64 // the committed offset; not in the metadata
	in         int64
	dropped    int64
	// out and dead count records by where they went. Partition -1 stands for all
	// of a topic's, where there are too many to tell apart.
	out, dead map[klamm.TopicPartition]int64
	// base is where some of the output partitions ended when the copy began. Each
	// is on the sheet of one input partition.
	base map[klamm.TopicPartition]int64
}

const (
	sheetMagic = "klamm.copy/1 "
	// noteMax keeps below the 4 KiB that brokers take for an offset's metadata
	// (offset.metadata.max.bytes).
	noteMax = 4000
)

// encode returns the sheet as an offset's metadata.
func (s *sheet) encode() (string, error) {
	if text := s.text(); len(text) <= noteMax {
		return text, nil
	}
	folded := *s
	folded.out, folded.dead = byTopic(s.out), byTopic(s.dead)
	text := folded.text()
	if len(text) > noteMax {
		return "", fmt.Errorf("the copy's figures take %d bytes, and brokers keep %d with an offset: too many output partitions for each input partition", len(text), noteMax)
	}
	return text, nil
}

func (s *sheet) text() string {
	topics := map[string]uint64{}
	var names []string
	for _, m := range []map[klamm.TopicPartition]int64{s.out, s.dead, s.base} {
		for _, tp := range sortedPartitions(slices.Collect(maps.Keys(m))) {
			if _, ok := topics[tp.Topic]; !ok {
				topics[tp.Topic] = uint64(len(names))
				names = append(names, tp.Topic)
			}
		}
	}
	b := binary.AppendUvarint(nil, uint64(len(names)))
	for _, name := range names {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
	}
	for _, n := range []int64{s.start, s.end, s.in, s.dropped} {
		b = binary.AppendVarint(b, n)
	}
	for _, m := range []map[klamm.TopicPartition]int64{s.out, s.dead, s.base} {
		b = binary.AppendUvarint(b, uint64(len(m)))
		for _, tp := range sortedPartitions(slices.Collect(maps.Keys(m))) {
			b = binary.AppendUvarint(b, topics[tp.Topic])
			b = binary.AppendVarint(b, int64(tp.Partition))
			b = binary.AppendVarint(b, m[tp])
		}
	}
	return sheetMagic + base64.RawStdEncoding.EncodeToString(b)
}

func byTopic(m map[klamm.TopicPartition]int64) map[klamm.TopicPartition]int64 {
	folded := map[klamm.TopicPartition]int64{}
	for tp, n := range m {
		folded[klamm.TopicPartition{Topic: tp.Topic, Partition: klamm.NoPartition}] += n
	}
	return folded
}

var errNoSheet = errors.New("the offset's metadata is no copy's")

// decodeSheet reads an offset's metadata.
func decodeSheet(text string) (*sheet, error) {
	coded, ok := strings.CutPrefix(text, sheetMagic)
	if !ok {
		return nil, errNoSheet
	}
	coded, _, _ = strings.Cut(coded, " ") // what follows is the transaction's mark
	raw, err := base64.RawStdEncoding.DecodeString(coded)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoSheet, err)
	}
	r := sheetReader{buf: raw}
	names := make([]string, 0, 4)
	for range r.count() {
		names = append(names, r.name())
	}
	s := &sheet{start: r.varint(), end: r.varint(), in: r.varint(), dropped: r.varint()}
	s.out, s.dead, s.base = r.partitions(names), r.partitions(names), r.partitions(names)
	if r.bad || len(r.buf) > 0 {
		return nil, fmt.Errorf("%w: it is damaged", errNoSheet)
	}
	return s, nil
}

// sheetReader is bad after a mistake and returns zeros.
type sheetReader struct {
	buf []byte
	bad bool
}

func (r *sheetReader) took(n int) bool {
	if n <= 0 || n > len(r.buf) {
		r.bad, r.buf = true, nil
		return false
	}
	r.buf = r.buf[n:]
	return true
}

func (r *sheetReader) varint() int64 {
	v, n := binary.Varint(r.buf)
	if !r.took(n) {
		return 0
	}
	return v
}

// count reads a number of things that take a byte each at least.
func (r *sheetReader) count() int {
	v, n := binary.Uvarint(r.buf)
	if !r.took(n) || v > uint64(len(r.buf)) {
		r.bad = true
		return 0
	}
	return int(v)
}

func (r *sheetReader) name() string {
	n := r.count()
	name := string(r.buf[:n])
	r.buf = r.buf[n:]
	return name
}

func (r *sheetReader) partitions(names []string) map[klamm.TopicPartition]int64 {
	m := map[klamm.TopicPartition]int64{}
	for range r.count() {
		v, n := binary.Uvarint(r.buf)
		if !r.took(n) || v >= uint64(len(names)) {
			r.bad = true
			break
		}
		tp := klamm.TopicPartition{Topic: names[v], Partition: int32(r.varint())}
		m[tp] = r.varint()
	}
	return m
}

// sheets are those of a copy's input partitions that this host has now.
type sheets struct {
	mu sync.Mutex
	of map[klamm.TopicPartition]*sheet
}

func newSheets() *sheets { return &sheets{of: map[klamm.TopicPartition]*sheet{}} }

// put begins with what was committed of a partition.
func (s *sheets) put(tp klamm.TopicPartition, committed *sheet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[tp] = committed
}

// add counts a completed record of an input partition.
func (s *sheets) add(from klamm.TopicPartition, r *klamm.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.of[from]
	if sh == nil {
		return // the partition is gone, and what is completed now is not committed
	}
	to := klamm.TopicPartition{Topic: r.Topic, Partition: r.Partition}
	switch r.Outcome {
	case klamm.Written:
		sh.out[to]++
	case klamm.DeadLettered:
		sh.dead[to]++
	case klamm.Dropped:
		sh.dropped++
	default:
		return
	}
	sh.in++
}

// addDropped counts records that on_consume dropped.
func (s *sheets) addDropped(from klamm.TopicPartition, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh := s.of[from]; sh != nil {
		sh.dropped += int64(n)
		sh.in += int64(n)
	}
}

// notes are the sheets to be committed with offsets, each with the mark behind it.
func (s *sheets) notes(offsets map[klamm.TopicPartition]int64, mark string) (map[klamm.TopicPartition]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	notes := make(map[klamm.TopicPartition]string, len(offsets))
	for tp, at := range offsets {
		sh := s.of[tp]
		if sh == nil {
			return nil, fmt.Errorf("copy: the figures of %s/%d are not known", tp.Topic, tp.Partition)
		}
		text, err := sh.encode()
		if err != nil {
			return nil, fmt.Errorf("copy %s/%d: %w", tp.Topic, tp.Partition, err)
		}
		notes[tp], sh.position = text+" "+mark, at
	}
	return notes, nil
}

// within cuts records off that came after the copy began. over says that the end
// is reached, and where.
func (s *sheets) within(tp klamm.TopicPartition, recs []klamm.Record) (ours []klamm.Record, end int64, over bool) {
	s.mu.Lock()
	sh := s.of[tp]
	s.mu.Unlock()
	if sh == nil {
		return recs, 0, false
	}
	i := slices.IndexFunc(recs, func(r klamm.Record) bool { return r.Offset >= sh.end })
	if i < 0 {
		return recs, 0, false
	}
	return recs[:i], sh.end, true
}
