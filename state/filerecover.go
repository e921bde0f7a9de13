package state

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
)

// ErrCorrupt: a state file was damaged after it was written, or is of another
// program. Bring it back from a copy, or move it away and begin with an empty
// window.
var ErrCorrupt = errors.New("state file is damaged")

// recovered is what reading a file found.
type recovered struct {
	head fileHead
	end  int64 // of the last frame that is whole
	// cut is how many bytes behind end are no frames: what was on its way to the
	// disk when the machine went down.
	cut int64
}

// recoverFile hands the operations of a file to replay, in order. What it
// handed over is always a prefix of what was written.
func recoverFile(f fileHandle, size int64, want fileHead, to replayer) (recovered, error) {
	r := fileReader{f: f, size: size}
	end, err := r.version()
	if err != nil {
		return recovered{}, err
	}
	out := recovered{end: end}
	for first := true; out.end < size; first = false {
		payload, next, err := r.frame(out.end)
		if err != nil {
			return out, err
		}
		if next == 0 {
			break
		}
		if first {
			if out.head, err = readFileHead(payload); err == nil {
				err = out.head.check(want)
			}
		} else {
			err = replay(payload, to)
		}
		if err != nil {
			return out, fmt.Errorf("frame at byte %d: %w", out.end, err)
		}
		out.end = next
	}
	if out.end == int64(len(fileMagic)) {
		return out, fmt.Errorf("%w: it ends within its head, at byte %d", ErrCorrupt, size)
	}
	out.cut = size - out.end
	if out.cut > 0 {
		return out, r.unsynced(out.end)
	}
	return out, nil
}

// check refuses the file of another state.
func (h fileHead) check(want fileHead) error {
	switch {
	case want.name != "" && h.name != want.name:
		return fmt.Errorf("it belongs to state %q, not to %q: each state needs a file of its own", h.name, want.name)
	case want.scope != "" && h.scope != want.scope:
		return fmt.Errorf("its ids are of scope %q, not %q: keep the scope, or begin with an empty window in another file", h.scope, want.scope)
	}
	return nil
}

// fileReader reads frames through a window of the file.
type fileReader struct {
	f     fileHandle
	size  int64
	at    int64 // of buf in the file
	buf   []byte
	spare []byte
}

const readAhead = 1 << 20

// bytes returns n bytes at offset, valid until the next call; fewer where the
// file ends.
func (r *fileReader) bytes(offset, n int64) ([]byte, error) {
	n = min(n, r.size-offset)
	if offset >= r.at && offset+n <= r.at+int64(len(r.buf)) {
		return r.buf[offset-r.at:][:n], nil
	}
	want := min(max(n, readAhead), r.size-offset)
	if int64(cap(r.spare)) < want {
		r.spare = make([]byte, want)
	}
	r.at, r.buf = offset, r.spare[:want]
	if _, err := r.f.ReadAt(r.buf, offset); err != nil {
		r.buf = nil
		return nil, fmt.Errorf("read at byte %d: %w", offset, err)
	}
	return r.buf[:n], nil
}

// version reads the first line and returns where it ends.
func (r *fileReader) version() (int64, error) {
	b, err := r.bytes(0, int64(len(fileMagic)))
	if err != nil {
		return 0, err
	}
	if string(b) == fileMagic {
		return int64(len(b)), nil
	}
	if len(b) == len(fileMagic) && string(b[:framePrefix]) == fileMagic[:framePrefix] {
		if v, err := strconv.Atoi(string(b[framePrefix : len(b)-1])); err == nil && b[len(b)-1] == '\n' {
			return 0, fmt.Errorf("it is of format %d, and this version of Klamm reads format 1: use the version that wrote it", v)
		}
	}
	return 0, fmt.Errorf("%w: it does not begin as a state file does", ErrCorrupt)
}

// frame returns the payload of the frame at offset and where the next one
// begins, or 0 where there is no whole frame.
func (r *fileReader) frame(offset int64) (payload []byte, next int64, err error) {
	head, err := r.bytes(offset, frameHead)
	if err != nil {
		return nil, 0, err
	}
	length, _, sum, ok := readHead(head, offset)
	if !ok || offset+frameHead+length > r.size {
		return nil, 0, nil
	}
	payload, err = r.bytes(offset+frameHead, length)
	if err != nil || crc32.Checksum(payload, castagnoli) != sum {
		return nil, 0, err
	}
	return payload, offset + frameHead + length, nil
}

// unsynced reports an error where the frame at bad was on the disk once: a later
// frame tells.
func (r *fileReader) unsynced(bad int64) error {
	for from := bad + 1; ; {
		at, err := r.find(from)
		if err != nil || at < 0 {
			return err
		}
		from = at + 1
		head, err := r.bytes(at, frameHead)
		if err != nil {
			return err
		}
		if _, synced, _, ok := readHead(head, at); ok && synced > bad {
			return fmt.Errorf("%w: the frame at byte %d of %d does not check, and it was on the disk once", ErrCorrupt, bad, r.size)
		}
	}
}

// find returns where the magic of a frame stands next, -1 for nowhere.
func (r *fileReader) find(at int64) (int64, error) {
	for at+frameHead <= r.size {
		b, err := r.bytes(at, readAhead)
		if err != nil {
			return 0, err
		}
		if i := bytes.Index(b, []byte(frameMagic)); i >= 0 {
			return at + int64(i), nil
		}
		at += int64(len(b)) - int64(len(frameMagic)) + 1
	}
	return -1, nil
}
