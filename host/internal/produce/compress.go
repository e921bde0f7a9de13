package produce

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// codec is a compression codec with Kafka's number, as the attributes of a
// batch carry it.
type codec int8

const (
	codecNone codec = iota
	codecGzip
	codecSnappy
	codecLZ4
	codecZstd
)

// compressor compresses the records of one batch at a time with one codec. It
// is safe for concurrent use.
type compressor struct {
	codec codec
	level int
	pool  sync.Pool // of *gzip.Writer, *lz4.Writer or *zstd.Encoder
}

func newCompressor(c codec, level int) (*compressor, error) {
	p := &compressor{codec: c, level: level}
	w, err := p.make()
	if err != nil {
		return nil, fmt.Errorf("compression_level %d: %w", level, err)
	}
	if w != nil {
		p.pool.Put(w)
	}
	return p, nil
}

// make makes an encoder. Level 0 is the codec's default.
func (c *compressor) make() (any, error) {
	switch c.codec {
	case codecGzip:
		level := gzip.DefaultCompression
		if c.level != 0 {
			level = c.level
		}
		return gzip.NewWriterLevel(io.Discard, level)
	case codecLZ4:
		w := lz4.NewWriter(io.Discard)
		// Blocks of 64 KiB are what Java's producer writes; consumers set
		// aside a block's size for each batch.
		return w, w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.CompressionLevelOption(lz4Level(c.level)), lz4.ConcurrencyOption(1))
	case codecZstd:
		level := zstd.SpeedDefault
		if c.level != 0 {
			level = zstd.EncoderLevelFromZstd(c.level)
		}
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(128<<10), zstd.WithZeroFrames(true))
	}
	return nil, nil
}

// lz4Level turns 1 to 9 into the library's levels; 0 is its fast mode.
func lz4Level(level int) lz4.CompressionLevel {
	if level <= 0 {
		return lz4.Fast
	}
	return 1 << (8 + min(level, 9))
}

// compress appends src to dst, compressed. It reports false, and dst is of no
// use, when that would not be smaller than src.
func (c *compressor) compress(dst, src []byte) ([]byte, bool) {
	start := len(dst)
	switch c.codec {
	case codecNone:
		return dst, false
	case codecSnappy:
		// One raw block, as sarama and librdkafka write it; readers of every
		// client tell it from Java's framed form by the missing magic.
		room := s2.MaxEncodedLen(len(src))
		if room < 0 {
			return dst, false
		}
		dst = append(dst, make([]byte, room)...)
		dst = dst[:start+len(s2.EncodeSnappy(dst[start:], src))]
	case codecZstd:
		w := c.get().(*zstd.Encoder)
		dst = w.EncodeAll(src, dst)
		c.pool.Put(w)
	default:
		out := bytes.NewBuffer(dst)
		if !c.stream(out, src) {
			return dst, false
		}
		dst = out.Bytes()
	}
	return dst, len(dst)-start < len(src)
}

func (c *compressor) get() any {
	if w := c.pool.Get(); w != nil {
		return w
	}
	w, err := c.make()
	if err != nil {
		panic("produce: an encoder that could be made once cannot be made again: " + err.Error())
	}
	return w
}

func (c *compressor) stream(out io.Writer, src []byte) bool {
	w := c.get().(interface {
		io.WriteCloser
		Reset(io.Writer)
	})
	w.Reset(out)
	_, err := w.Write(src)
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	w.Reset(io.Discard)
	c.pool.Put(w)
	return err == nil
}

// decompress undoes compress. src is a batch of our own.
func decompress(c codec, dst, src []byte) ([]byte, error) {
	var r io.Reader
	switch c {
	case codecNone:
		return append(dst, src...), nil
	case codecSnappy:
		raw, err := s2.Decode(nil, src)
		return append(dst, raw...), err
	case codecZstd:
		d, err := zstd.NewReader(bytes.NewReader(src), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return dst, err
		}
		defer d.Close()
		r = d
	case codecLZ4:
		r = lz4.NewReader(bytes.NewReader(src))
	case codecGzip:
		g, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return dst, err
		}
		r = g
	}
	out := bytes.NewBuffer(dst)
	_, err := out.ReadFrom(r)
	return out.Bytes(), err
}
