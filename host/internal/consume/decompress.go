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

// decompress returns src itself where nothing is compressed.
func decompress(codec int, src []byte) ([]byte, error) {
	switch codec {
	case codecNone:
		return src, nil
	case codecGzip:
		r, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return inflate("gzip", r)
	case codecSnappy:
		return unsnap(src)
	case codecLZ4:
		return inflate("lz4", lz4.NewReader(bytes.NewReader(src)))
	case codecZstd:
		return unzstd(src)
	}
	return nil, fmt.Errorf("compression codec %d is not known", codec)
}

func inflate(name string, r io.Reader) ([]byte, error) {
	var out bytes.Buffer
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
func unsnap(src []byte) ([]byte, error) {
	for size := unsnappedSize(src); ; size *= 4 {
		size = min(size, inflatedMaxBytes)
		out, err := xerial.DecodeCapped(make([]byte, 0, size), src)
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

func unzstd(src []byte) ([]byte, error) {
	d := zstdDecoders.Get().(*zstd.Decoder)
	defer zstdDecoders.Put(d)
	out, err := d.DecodeAll(src, nil)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return nil, errBomb
	}
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return out, nil
}
