package checker

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
)

// The file is a magic number, then blocks: their length and checksum (CRC-32C),
// then the bytes. The first block is the head in JSON, the others are entries.
// A process that is killed leaves a last block that is not whole; it is left
// out when the file is read.
const (
	fileMagic = "KLAMMHI1"
	// blockBytes is when a block is written. The last entry may go beyond it.
	blockBytes = 64 << 10
	// bufferMax is how much may wait to be written before senders wait too.
	bufferMax = 512 << 10
	// blockMax is beyond any block; a longer one is torn.
	blockMax = 1 << 20
)

// Writer appends to a history. Its methods are safe for concurrent use, but the
// records of one producer must be noted in the order in which they are sent.
//
// A durable history has each record on disk (fsync) before Sent returns; those
// that come at once share one write. Else entries are written in blocks of
// 64 KiB, and a killed process leaves its last ones out.
type Writer struct {
	head Head
	file *os.File

	mu      sync.Mutex
	changed *sync.Cond
	buf     []byte
	noted   int64 // bytes of entries so far
	written int64 // of which are in the file
	err     error
	closed  bool
	done    chan struct{}
}

// Create starts a history in a new file.
func Create(path string, head Head) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	text, err := json.Marshal(head)
	if err == nil {
		_, err = f.Write(append([]byte(fileMagic), block(text)...))
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("history %q: %w", path, err), f.Close())
	}
	w := &Writer{head: head, file: f, done: make(chan struct{})}
	w.changed = sync.NewCond(&w.mu)
	go w.run()
	return w, nil
}

func block(b []byte) []byte {
	out := binary.BigEndian.AppendUint32(make([]byte, 0, 8+len(b)), uint32(len(b)))
	out = binary.BigEndian.AppendUint32(out, crc32.Checksum(b, castagnoli))
	return append(out, b...)
}

// run writes what has come together.
func (w *Writer) run() {
	defer close(w.done)
	var spare []byte
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.buf) < blockBytes && !w.closed && !(w.head.Durable && len(w.buf) > 0) {
			w.changed.Wait()
		}
		if len(w.buf) == 0 {
			return // closed
		}
		b, upto := w.buf, w.noted
		w.buf = spare[:0]
		w.mu.Unlock()
		err := w.write(b)
		w.mu.Lock()
		spare = b
		w.written = upto
		if w.err == nil {
			w.err = err
		}
		w.changed.Broadcast()
	}
}

func (w *Writer) write(b []byte) error {
	if _, err := w.file.Write(block(b)); err != nil {
		return err
	}
	if w.head.Durable {
		return w.file.Sync()
	}
	return nil
}

// add appends one entry. With wait it returns when the entry is on disk.
func (w *Writer) add(wait bool, encode func([]byte) []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.buf) >= bufferMax && w.err == nil && !w.closed {
		w.changed.Wait()
	}
	if w.closed {
		return fmt.Errorf("history: %w", os.ErrClosed)
	}
	before := len(w.buf)
	w.buf = encode(w.buf)
	w.noted += int64(len(w.buf) - before)
	mine := w.noted
	if wait || len(w.buf) >= blockBytes {
		w.changed.Broadcast()
	}
	for wait && w.written < mine && w.err == nil {
		w.changed.Wait()
	}
	return w.err
}

// Sent notes a record that is about to be sent.
func (w *Writer) Sent(s Sent) error {
	return w.add(w.head.Durable, func(b []byte) []byte { return appendSent(b, s, w.head.Started) })
}

// Ended notes a record's completion.
func (w *Writer) Ended(e Ended) error {
	return w.add(false, func(b []byte) []byte { return appendEnded(b, e) })
}

// Hook notes that an interceptor was called for a record.
func (w *Writer) Hook(h Hook, id ID) error {
	return w.add(false, func(b []byte) []byte {
		return binary.AppendUvarint(append(b, byte(kindHook), byte(h)), uint64(id))
	})
}

// Txn notes how a transaction ended.
func (w *Writer) Txn(txn uint32, o TxnOutcome) error {
	return w.add(false, func(b []byte) []byte {
		return binary.AppendUvarint(append(b, byte(kindTxn), byte(o)), uint64(txn))
	})
}

// Offset notes an offset that a transaction is to commit.
func (w *Writer) Offset(o TxnOffset) error {
	return w.add(false, func(b []byte) []byte {
		b = binary.AppendUvarint(append(b, byte(kindOffset)), uint64(o.Txn))
		return binary.AppendVarint(binary.AppendVarint(b, int64(o.Partition)), o.Offset)
	})
}

// Polled notes that a consumer was given a record, or where it begins.
func (w *Writer) Polled(p Polled) error {
	return w.add(false, func(b []byte) []byte { return appendPolled(b, p) })
}

// Close ends the history: whatever has no completion by now never got one.
func (w *Writer) Close() error {
	err := w.add(false, func(b []byte) []byte { return append(b, byte(kindClosed)) })
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	w.mu.Lock()
	w.closed = true
	w.changed.Broadcast()
	w.mu.Unlock()
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.err, w.file.Sync(), w.file.Close())
}

// Load reads a history. A last block that is not whole is left out, and
// TornBytes says how much that was.
func Load(path string) (*History, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	defer f.Close()
	h, err := ReadHistory(f)
	if err != nil {
		return nil, fmt.Errorf("history %q: %w", path, err)
	}
	return h, nil
}

var errTorn = errors.New("the block is not whole")

// ReadHistory is Load for a stream.
func ReadHistory(r io.Reader) (*History, error) {
	in := bufio.NewReaderSize(r, blockMax)
	magic := make([]byte, len(fileMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != fileMagic {
		return nil, errors.New("it is no history: klamm bench --history writes them")
	}
	text, _, err := readBlock(in, nil)
	if err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	var head Head
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	h := newHistory(head)
	var b []byte
	for {
		var n int64
		b, n, err = readBlock(in, b)
		if err == io.EOF {
			return h, nil
		}
		if errors.Is(err, errTorn) {
			return h, h.torn(in, n)
		}
		if err == nil {
			err = h.apply(b)
		}
		if err != nil {
			return nil, err
		}
	}
}

// torn accepts a broken block only as the last one.
func (h *History) torn(in io.Reader, n int64) error {
	rest, err := io.Copy(io.Discard, in)
	if err != nil {
		return err
	}
	if rest > 0 {
		return fmt.Errorf("a block before the last has a wrong checksum; %d bytes follow it", rest)
	}
	h.TornBytes = n
	return nil
}

// readBlock returns the next block in buf's memory, and how many bytes it read.
func readBlock(in io.Reader, buf []byte) ([]byte, int64, error) {
	var head [8]byte
	n, err := io.ReadFull(in, head[:])
	if err == io.EOF {
		return buf, 0, io.EOF
	}
	if err != nil {
		return buf, int64(n), errTorn
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > blockMax {
		return buf, 8, errTorn
	}
	if cap(buf) < int(size) {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	m, err := io.ReadFull(in, buf)
	if err != nil || crc32.Checksum(buf, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return buf, int64(8 + m), errTorn
	}
	return buf, int64(8 + m), nil
}
