package produce

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/klamm-io/klamm/internal/config"
)

// sink is a transport to a broker that acknowledges whatever it gets, without
// looking at the batches. It is not safe for more than one reader and writer.
type sink struct {
	answers chan []byte
	rest    []byte
	closed  chan struct{}
	once    sync.Once
	spare   chan []byte
}

func newSink() *sink {
	return &sink{answers: make(chan []byte, 8), spare: make(chan []byte, 8), closed: make(chan struct{})}
}

func (s *sink) ProduceVersions() (int16, int16) { return 3, 7 }

func (s *sink) RenewAt() time.Time { return time.Time{} }

func (s *sink) Close() error { s.once.Do(func() { close(s.closed) }); return nil }

// WriteFrame turns the request into its answer: version 7 has the same order of
// topics and partitions in both.
func (s *sink) WriteFrame(pieces net.Buffers) error {
	be := binary.BigEndian
	var b []byte
	select {
	case b = <-s.spare:
	default:
	}
	req := pieces[0]
	id := be.Uint32(req[8:])
	b = append(b[:0], 0, 0, 0, 0)
	b = be.AppendUint32(b, id)
	// length 4, header 8+2+client id, null transactional id, acks, timeout.
	at := 14 + int(be.Uint16(req[12:])) + 2 + 2 + 4
	topics := be.Uint32(req[at:])
	at += 4
	b = be.AppendUint32(b, topics)
	piece := 0
	for range topics {
		n := 2 + int(be.Uint16(req[at:]))
		b = append(b, req[at:at+n]...)
		at += n
		parts := be.Uint32(req[at:])
		at += 4
		b = be.AppendUint32(b, parts)
		for range parts {
			b = append(b, req[at:at+4]...)  // partition
			b = append(b, 0, 0)             // error
			b = be.AppendUint64(b, 1)       // offset
			b = be.AppendUint64(b, 1<<64-1) // timestamp
			b = be.AppendUint64(b, 0)       // log start
			piece += 2                      // over the batch
			if piece < len(pieces) {
				req, at = pieces[piece], 0
			}
		}
	}
	b = be.AppendUint32(b, 0) // throttle
	be.PutUint32(b, uint32(len(b)-4))
	select {
	case s.answers <- b:
		return nil
	case <-s.closed:
		return net.ErrClosed
	}
}

func (s *sink) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		select {
		case s.rest = <-s.answers:
		case <-s.closed:
			return 0, io.EOF
		}
	}
	n := copy(p, s.rest)
	if s.rest = s.rest[n:]; len(s.rest) == 0 {
		select {
		case s.spare <- s.rest[:0]:
		default:
		}
	}
	return n, nil
}

// BenchmarkPipeline appends records of 100 bytes and sends them to a broker
// that costs nothing: reserve, encode, batch, stamp, checksum, frame, answer
// and completion.
func BenchmarkPipeline(b *testing.B) {
	for _, bench := range []struct {
		name       string
		partitions int32
		senders    int
		codec      config.Compression
	}{
		{"partitions=1", 1, 1, config.CompressionNone},
		{"partitions=12", 12, 1, config.CompressionNone},
		{"partitions=12/senders=2", 12, 2, config.CompressionNone},
		{"partitions=12/lz4", 12, 1, config.CompressionLZ4},
	} {
		b.Run(bench.name, func(b *testing.B) {
			n := newFakeNetwork(nil, int(bench.partitions))
			n.transports = func(int32) transport { return newSink() }
			var mu sync.Mutex
			cond := sync.NewCond(&mu)
			done := 0
			complete := func(c *Completion) {
				if c.Err != nil {
					b.Error(c.Err)
				}
				mu.Lock()
				done += len(c.Refs)
				mu.Unlock()
				cond.Signal()
			}
			p, err := newPipeline(testConfig(func(c *config.Producer) { c.Compression = bench.codec }), n, complete, nil)
			if err != nil {
				b.Fatal(err)
			}
			value := make([]byte, 100)
			for i := range value {
				value[i] = byte(i * i)
			}
			size := UpperBound(0, len(value), nil)
			deadline := time.Now().Add(time.Hour)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for s := range bench.senders {
				wg.Go(func() {
					r := Record{Topic: "t", TimestampMS: 1_700_000_000_000, Value: value, Reserved: size}
					for i := s; i < b.N; i += bench.senders {
						r.Partition = int32(i/64) % bench.partitions
						r.Ref = uint64(i)
						if err := p.Reserve(b.Context(), size, deadline); err != nil {
							b.Error(err)
							return
						}
						if err := p.Append(&r); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			stop := p.BeginFlush()
			mu.Lock()
			for done < b.N {
				cond.Wait()
			}
			mu.Unlock()
			stop()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			if err := p.Close(b.Context()); err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkAppendEach is BenchmarkPipeline of records that were encoded when they
// were staged, 64 of a partition at a time.
func BenchmarkAppendEach(b *testing.B) {
	const chain = 64
	n := newFakeNetwork(nil, 12)
	n.transports = func(int32) transport { return newSink() }
	var sent sync.WaitGroup
	complete := func(c *Completion) {
		if c.Err != nil {
			b.Error(c.Err)
		}
		sent.Add(-len(c.Refs))
	}
	p, err := newPipeline(testConfig(), n, complete, nil)
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 100)
	size := UpperBound(0, len(value), nil)
	body := make([]byte, size)
	_, _, used := PutBody(body, nil, value, nil)
	var parts [12]*Partition
	for i := range parts {
		if parts[i], err = p.Partition("t", int32(i)); err != nil {
			b.Fatal(err)
		}
	}
	deadline := time.Now().Add(time.Hour)
	rs := make([]Encoded, chain)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		for k := range rs {
			rs[k] = Encoded{TimestampMS: 1_700_000_000_000, Body: body[:used], Ref: uint64(k), Reserved: int32(size), Next: int32(k + 1)}
		}
		rs[chain-1].Next = -1
		if err := p.Reserve(b.Context(), chain*size, deadline); err != nil {
			b.Fatal(err)
		}
		sent.Add(chain)
		if _, err := parts[i%len(parts)].AppendEach(rs, 0); err != nil {
			b.Fatal(err)
		}
	}
	stop := p.BeginFlush()
	sent.Wait()
	stop()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/chain, "ns/record")
	if err := p.Close(b.Context()); err != nil {
		b.Error(err)
	}
}
