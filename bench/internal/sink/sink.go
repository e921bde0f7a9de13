// Package sink is a broker that throws records away. It stands in for Kafka
// where the client is what is measured: it answers at once what producers ask,
// checks each batch's header and checksum and the order of idempotent ones, and
// counts. One broker leads every partition of every topic; a topic exists as soon
// as somebody names it.
//
// It stores and replicates nothing, so it says nothing about latency or
// throughput of a cluster.
package sink

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxFrame is Kafka's socket.request.max.bytes.
const maxFrame = 100 << 20

// Broker is a running sink. Its methods are safe for concurrent use.
type Broker struct {
	listener   net.Listener
	host       string
	port       int32
	partitions int32

	mu     sync.Mutex
	topics map[string]*topic
	nextID int64
	deep   bool
	conns  map[net.Conn]bool
	closed bool
	bad    error // the first thing that was wrong
	tasks  sync.WaitGroup
}

// Count is what a sink got.
type Count struct {
	Records int64 `json:"records"`
	Batches int64 `json:"batches"`
	Bytes   int64 `json:"bytes"` // of batches
	// Sum is the records' checksum, where they were looked at (Deep).
	Sum uint64 `json:"sum"`
	// Bad is what was wrong with a request or a batch, "" if nothing was.
	Bad string `json:"bad,omitempty"`
}

// Listen starts a sink on a free port of the loopback.
func Listen(partitions int) (*Broker, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().(*net.TCPAddr)
	b := &Broker{
		listener: l, host: addr.IP.String(), port: int32(addr.Port), partitions: int32(partitions),
		topics: map[string]*topic{}, conns: map[net.Conn]bool{}, nextID: 1,
	}
	b.tasks.Add(1)
	go b.accept()
	return b, nil
}

// Addr is where clients connect to.
func (b *Broker) Addr() string { return b.listener.Addr().String() }

// Deep has the sink read every record of the batches to come, not only their
// headers. That is slow.
func (b *Broker) Deep(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deep = on
}

// Take returns what came for a topic since the last Take.
func (b *Broker) Take(name string) Count {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topic(name)
	c := t.count
	t.count = Count{}
	if b.bad != nil {
		c.Bad = b.bad.Error()
	}
	return c
}

// Close ends the sink and its connections.
func (b *Broker) Close() error {
	err := b.listener.Close()
	b.mu.Lock()
	b.closed = true
	for c := range b.conns {
		err = errors.Join(err, c.Close())
	}
	b.mu.Unlock()
	b.tasks.Wait()
	return err
}

func (b *Broker) accept() {
	defer b.tasks.Done()
	for {
		c, err := b.listener.Accept()
		if err != nil {
			return // closed
		}
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			_ = c.Close() // a client that came too late
			return
		}
		b.conns[c] = true
		b.tasks.Add(1)
		b.mu.Unlock()
		go b.serve(c)
	}
}

// serve answers one connection's requests in their order.
func (b *Broker) serve(c net.Conn) {
	defer b.tasks.Done()
	s := &session{broker: b, in: bufio.NewReaderSize(c, 256<<10)}
	for {
		answer, err := s.next()
		if err == nil && answer != nil {
			_, err = c.Write(answer)
		}
		if err != nil {
			b.left(c, err)
			return
		}
	}
}

// left notes why a connection ended. Clients that close it are no problem.
func (b *Broker) left(c net.Conn, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
	var netErr *net.OpError
	if b.bad == nil && !errors.Is(err, io.EOF) && !errors.As(err, &netErr) {
		b.bad = err
	}
	_ = c.Close() // it is of no more use
}

// session is one connection and its memory.
type session struct {
	broker *Broker
	in     *bufio.Reader
	frame  []byte
	out    []byte
}

// next reads a request and returns its answer, nil where there is none.
func (s *session) next() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:])))
	if size < 8 || size > maxFrame {
		return nil, fmt.Errorf("a request of %d bytes", size)
	}
	if cap(s.frame) < size {
		s.frame = make([]byte, size)
	}
	s.frame = s.frame[:size]
	if _, err := io.ReadFull(s.in, s.frame); err != nil {
		return nil, err
	}
	return s.answer()
}

func (s *session) answer() ([]byte, error) {
	key, version := int16(binary.BigEndian.Uint16(s.frame)), int16(binary.BigEndian.Uint16(s.frame[2:]))
	req := kmsg.RequestForKey(key)
	if req == nil {
		return nil, fmt.Errorf("unknown request %d", key)
	}
	req.SetVersion(version)
	correlation := s.frame[4:8]
	body, err := skipHeader(s.frame[8:], req.IsFlexible())
	if err != nil {
		return nil, err
	}
	supported := inRange(key, version)
	if supported {
		if err := readFrom(req, body); err != nil {
			return nil, fmt.Errorf("%s version %d: %w", kmsg.NameForKey(key), version, err)
		}
	}
	resp, err := s.broker.handle(req, supported)
	if err != nil || resp == nil {
		return nil, err
	}
	s.out = append(s.out[:0], 0, 0, 0, 0)
	s.out = append(s.out, correlation...)
	if resp.IsFlexible() && key != apiVersionsKey {
		s.out = append(s.out, 0) // no tags
	}
	s.out = resp.AppendTo(s.out)
	binary.BigEndian.PutUint32(s.out, uint32(len(s.out)-4))
	return s.out, nil
}

// readFrom leaves the bytes of batches where they are.
func readFrom(req kmsg.Request, body []byte) error {
	if u, ok := req.(interface{ UnsafeReadFrom([]byte) error }); ok {
		return u.UnsafeReadFrom(body)
	}
	return req.ReadFrom(body)
}

// skipHeader skips client id and tags.
func skipHeader(b []byte, flexible bool) ([]byte, error) {
	short := errors.New("a request ends in its header")
	if len(b) < 2 {
		return nil, short
	}
	n := max(0, int(int16(binary.BigEndian.Uint16(b))))
	if b = b[2:]; len(b) < n {
		return nil, short
	}
	if b = b[n:]; !flexible {
		return b, nil
	}
	if len(b) < 1 || b[0] != 0 {
		return nil, errors.New("a request has tags in its header")
	}
	return b[1:], nil
}
