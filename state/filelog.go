package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// A state file is a line of text with the version of its format, then frames.
// A frame is the operations of one group commit under one checksum:
//
//	magic, u32 length of the payload, u64 synced, u32 CRC-32C of the payload,
//	u32 CRC-32C of the frame's offset and the fields before
//
// All numbers are little-endian. The offset is in the checksum, so that a frame
// is no frame anywhere else. synced says up to where the file was known to be
// on the disk when the frame was written. So a frame that does not check is told
// apart: where a later one says that it was synced, the disk has damaged it;
// else it was on its way to the disk when the machine went down.
//
// The payload of the first frame is a head, that of the others are operations,
// each a byte and its operands. Strings have a length before them; integers are
// varints.
const (
	fileMagic   = "klamm-state 001\n"
	frameMagic  = "KLf\x01"
	frameHead   = 24
	framePrefix = len("klamm-state ")
	// framePayloadMax is what a reader accepts: more than any group commit.
	framePayloadMax = 1 << 30
)

// The operations.
const (
	opHead     = 'H' // name, scope, 16 bytes of key
	opOrigin   = 'O' // plugin, topic: gets the next number, from 0
	opRemember = 'R' // origin, 16 bytes of id, partition, offset, expiry, how many of the oldest went
	opForget   = 'F' // 16 bytes of id
	opPut      = 'P' // origin, key, value, expiry
	opRemove   = 'D' // origin, key
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is one group commit in the making: room for the frame's head, then the
// payload.
type frame []byte

func newFrame() frame { return make(frame, frameHead, 4096) }

func (f frame) empty() bool { return len(f) <= frameHead }

// seal writes the head of a frame that will stand at offset.
func (f frame) seal(offset int64, synced int64) []byte {
	payload := f[frameHead:]
	copy(f, frameMagic)
	binary.LittleEndian.PutUint32(f[4:], uint32(len(payload)))
	binary.LittleEndian.PutUint64(f[8:], uint64(synced))
	binary.LittleEndian.PutUint32(f[16:], crc32.Checksum(payload, castagnoli))
	binary.LittleEndian.PutUint32(f[20:], headSum(f, offset))
	return f
}

func headSum(head []byte, offset int64) uint32 {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], uint64(offset))
	return crc32.Update(crc32.Checksum(at[:], castagnoli), castagnoli, head[:20])
}

// readHead returns the fields of a frame's head, if it is one.
func readHead(head []byte, offset int64) (length int64, synced int64, sum uint32, ok bool) {
	if len(head) < frameHead || string(head[:4]) != frameMagic || binary.LittleEndian.Uint32(head[20:]) != headSum(head, offset) {
		return 0, 0, 0, false
	}
	n := binary.LittleEndian.Uint32(head[4:])
	return int64(n), int64(binary.LittleEndian.Uint64(head[8:])), binary.LittleEndian.Uint32(head[16:]), n <= framePayloadMax
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendID(b []byte, id ID) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, id[0]), id[1])
}

func (f frame) head(h fileHead) frame {
	f = appendText(appendText(append(f, opHead), h.name), h.scope)
	return appendID(f, ID(h.key))
}

func (f frame) origin(plugin, topic string) frame {
	return appendText(appendText(append(f, opOrigin), plugin), topic)
}

func (f frame) remember(origin uint32, id ID, partition int32, offset, expiresMS int64, gone int) frame {
	f = appendID(binary.AppendUvarint(append(f, opRemember), uint64(origin)), id)
	f = binary.AppendVarint(binary.AppendVarint(f, int64(partition)), offset)
	return binary.AppendUvarint(binary.AppendVarint(f, expiresMS), uint64(gone))
}

func (f frame) forget(id ID) frame { return appendID(append(f, opForget), id) }

func (f frame) put(origin uint32, key string, value []byte, expiresMS int64) frame {
	f = appendText(binary.AppendUvarint(append(f, opPut), uint64(origin)), key)
	f = append(binary.AppendUvarint(f, uint64(len(value))), value...)
	return binary.AppendVarint(f, expiresMS)
}

func (f frame) remove(origin uint32, key string) frame {
	return appendText(binary.AppendUvarint(append(f, opRemove), uint64(origin)), key)
}

// fileHead is what a file says of itself.
type fileHead struct {
	name, scope string
	key         Key
}

// replayer is told what a file holds, in order. An error ends the reading.
type replayer interface {
	origin(plugin, topic string) error
	remember(origin uint32, id ID, partition int32, offset, expiresMS int64, gone int) error
	forget(id ID) error
	put(origin uint32, key string, value []byte, expiresMS int64) error
	remove(origin uint32, key string) error
}

var errOperation = errors.New("an operation that this version does not know, or with operands that it cannot have")

// decoder reads a payload. The first operand that is not there makes it bad.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) skip(n int) {
	if n <= 0 {
		d.bad = true
		return
	}
	d.b = d.b[n:]
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) small() uint32 {
	v := d.uvarint()
	d.bad = d.bad || v > math.MaxInt32
	return uint32(v)
}

func (d *decoder) partition() int32 {
	v := d.varint()
	d.bad = d.bad || v < -1 || v > math.MaxInt32
	return int32(v)
}

func (d *decoder) bytes() []byte { return d.take(d.uvarint()) }
func (d *decoder) text() string  { return string(d.bytes()) }

func (d *decoder) id() ID {
	b := d.take(16)
	if d.bad {
		return ID{}
	}
	return ID{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

// readFileHead decodes the payload of the first frame.
func readFileHead(payload []byte) (fileHead, error) {
	d := decoder{b: payload}
	if d.take(1); d.bad || payload[0] != opHead {
		return fileHead{}, errOperation
	}
	h := fileHead{name: d.text(), scope: d.text(), key: Key(d.id())}
	if d.bad || len(d.b) > 0 {
		return fileHead{}, errOperation
	}
	return h, nil
}

// replay decodes the payload of a later frame.
func replay(payload []byte, to replayer) error {
	d := decoder{b: payload}
	for len(d.b) > 0 {
		at := len(payload) - len(d.b)
		if err := d.step(to); err != nil {
			return fmt.Errorf("operation %q at byte %d of the frame: %w", payload[at], at, err)
		}
	}
	return nil
}

// step decodes one operation and hands it on if its operands are whole.
func (d *decoder) step(to replayer) error {
	op := d.take(1)[0]
	var apply func() error
	switch op {
	case opOrigin:
		plugin, topic := d.text(), d.text()
		apply = func() error { return to.origin(plugin, topic) }
	case opRemember:
		return d.remember(to)
	case opForget:
		id := d.id()
		apply = func() error { return to.forget(id) }
	case opPut:
		origin, key, value, expires := d.small(), d.text(), d.bytes(), d.varint()
		apply = func() error { return to.put(origin, key, value, expires) }
	case opRemove:
		origin, key := d.small(), d.text()
		apply = func() error { return to.remove(origin, key) }
	default:
		return errOperation
	}
	if d.bad {
		return errOperation
	}
	return apply()
}

// remember is the operation that a file has millions of: without a closure.
func (d *decoder) remember(to replayer) error {
	origin, id := d.small(), d.id()
	partition, offset, expires, gone := d.partition(), d.varint(), d.varint(), d.small()
	if d.bad {
		return errOperation
	}
	return to.remember(origin, id, partition, offset, expires, int(gone))
}
