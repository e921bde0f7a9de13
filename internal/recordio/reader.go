package recordio

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klamm-io/klamm"
)

// DefaultMaxLine is how long a line may be, in bytes.
const DefaultMaxLine = 16 << 20

// ReaderOptions say how lines become records. The zero value reads plain lines
// as values.
type ReaderOptions struct {
	// JSON reads lines as ParseJSON does, and skips empty ones and the mark that
	// PowerShell and others put before UTF-8. Otherwise a line
	// is a value as it stands, without its "\n".
	JSON bool
	// KeyDelimiter, if not empty, ends the key of a plain line at its first
	// place. A line without it has a null key.
	KeyDelimiter string
	// EmptyIsNull makes an empty key or value of a plain line null.
	EmptyIsNull bool
	// MaxLine bounds a line, in bytes, without its end. Default DefaultMaxLine.
	MaxLine int
}

var byteOrderMark = []byte("\ufeff")

// LineError is a line that is no record. The reader stands behind it, so that
// reading can go on.
type LineError struct {
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause, such as a *ParseError.
func (e *LineError) Unwrap() error { return e.Err }

// ErrLineTooLong is the cause of a LineError; the whole line is passed over.
var ErrLineTooLong = errors.New("the line is too long")

// Reader reads one record a line.
type Reader struct {
	r    *bufio.Reader
	o    ReaderOptions
	line int
	buf  []byte
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader, o ReaderOptions) *Reader {
	if o.MaxLine <= 0 {
		o.MaxLine = DefaultMaxLine
	}
	return &Reader{r: bufio.NewReaderSize(r, 64<<10), o: o}
}

// Line returns the number of the line that was read last.
func (r *Reader) Line() int { return r.line }

// Read returns the next record, which is the caller's. The error is a *LineError
// where the line is at fault, io.EOF at the end, or that of the reader below. A
// last line without "\n" is a line, but an empty one is none.
func (r *Reader) Read() (*klamm.Record, error) {
	for {
		line, err := r.next()
		if r.o.JSON && r.line == 1 {
			line = bytes.TrimPrefix(line, byteOrderMark)
		}
		switch {
		case err != nil:
			return nil, err
		case r.o.JSON && len(bytes.TrimSpace(line)) == 0:
			continue
		case !r.o.JSON:
			return r.plain(line), nil
		}
		rec, err := ParseJSON(line)
		if err != nil {
			return nil, &LineError{r.line, err}
		}
		return rec, nil
	}
}

// next returns the next line, valid until the next call.
func (r *Reader) next() ([]byte, error) {
	r.buf = r.buf[:0]
	tooLong := false
	for {
		part, err := r.r.ReadSlice('\n')
		if n := len(r.buf) + len(bytes.TrimSuffix(part, []byte("\n"))); n > r.o.MaxLine {
			tooLong = true
		}
		if !tooLong {
			r.buf = append(r.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(r.buf) == 0 && !tooLong:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		}
		r.line++
		if tooLong {
			return nil, &LineError{r.line, fmt.Errorf("%w: more than %d bytes", ErrLineTooLong, r.o.MaxLine)}
		}
		return bytes.TrimSuffix(r.buf, []byte("\n")), nil
	}
}

func (r *Reader) plain(line []byte) *klamm.Record {
	rec := &klamm.Record{Partition: klamm.NoPartition, Offset: klamm.NoOffset}
	value := line
	if r.o.KeyDelimiter != "" {
		if key, rest, found := bytes.Cut(line, []byte(r.o.KeyDelimiter)); found {
			rec.Key, value = r.field(key), rest
		}
	}
	rec.Value = r.field(value)
	return rec
}

// field copies a field out of the line.
func (r *Reader) field(b []byte) []byte {
	if len(b) == 0 && r.o.EmptyIsNull {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}
