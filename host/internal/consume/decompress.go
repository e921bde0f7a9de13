package consume

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// inflatedMaxBytes bounds what one batch may decompress to: a few hundred bytes
// can claim gigabytes.
const inflatedMaxBytes = 128 << 20

var errBomb = fmt.Errorf("it decompresses to more than %d bytes", inflatedMaxBytes)

// Kafka's codec numbers.
const (
	codecNone = iota
	codecGzip
	codecSnappy
	codecLZ4
	codecZstd
)

var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(inflatedMaxBytes))
	if err != nil {
		panic(err) // the options are constant
	}
	return d
}}

// inflate decompresses src, in memory that was used before where that is large enough.
// Where nothing is compressed it takes src as it is.
func (b *body) inflate(codec int, src []byte) (err error) {
	b.own = codec != codecNone
	switch codec {
	case codecNone:
		b.bytes = src
		return nil
	case codecGzip:
		r, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return fmt.Errorf("gzip: %w", err)
		}
		b.bytes, err = readAllOf("gzip", r, b.memory[:0])
		return b.keep(err)
	case codecSnappy:
		b.bytes, err = unsnap(src, b.memory[:0])
	case codecLZ4:
		b.bytes, err = readAllOf("lz4", lz4.NewReader(bytes.NewReader(src)), b.memory[:0])
	case codecZstd:
		b.bytes, err = unzstd(src, b.memory[:0])
	default:
		b.own = false
		return fmt.Errorf("compression codec %d is not known", codec)
	}
	return b.keep(err)
}

// keep keeps the memory for what comes next.
func (b *body) keep(err error) error {
	if err == nil {
		b.memory = b.bytes[:0]
	}
	return err
}

func readAllOf(name string, r io.Reader, memory []byte) ([]byte, error) {
	out := bytes.NewBuffer(memory)
	n, err := out.ReadFrom(io.LimitReader(r, inflatedMaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if n > inflatedMaxBytes {
		return nil, errBomb
	}
	return out.Bytes(), nil
}

// unsnap takes both framings that producers use: Java's and none. The output
// grows with what is really there, not with what the header claims.
func unsnap(src, memory []byte) ([]byte, error) {
	for size := unsnappedSize(src); ; size *= 4 {
		if size = min(size, inflatedMaxBytes); cap(memory) < size {
			memory = make([]byte, 0, size)
		}
		out, err := xerial.DecodeCapped(memory, src)
		if err == nil {
			return out, nil
		}
		if !errors.Is(err, xerial.ErrDstTooSmall) {
			return nil, fmt.Errorf("snappy: %w", err)
		}
		if size == inflatedMaxBytes {
			return nil, errBomb
		}
	}
}

// xerialMagic begins the framing of Java's producers.
const xerialMagic = "\x82SNAPPY\x00"

// snappyRatioMax is more than any element of snappy expands to: a copy of 64 bytes
// takes 3.
const snappyRatioMax = 22

// unsnappedSize is what to allocate at first: what the header claims, where the
// bytes can be as much.
func unsnappedSize(src []byte) int {
	if !bytes.HasPrefix(src, []byte(xerialMagic)) {
		if n, err := s2.DecodedLen(src); err == nil && n <= snappyRatioMax*len(src) {
			return max(n, 1)
		}
	}
	return max(4*len(src), 1<<10)
}

func unzstd(src, memory []byte) ([]byte, error) {
	d := zstdDecoders.Get().(*zstd.Decoder)
	defer zstdDecoders.Put(d)
	out, err := d.DecodeAll(src, memory)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return nil, errBomb
	}
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return out, nil
}
