package faultproxy

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// stub is a broker that tells the test of each request and answers it with its
// body.
type stub struct {
	net.Listener
	requests chan []byte // frames behind their length
	ended    chan error  // why a connection ended
}

func newStub(t *testing.T) *stub {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &stub{l, make(chan []byte, 1000), make(chan error, 1000)}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *stub) serve(c net.Conn) {
	defer c.Close()
	for {
		frame, err := readFrame(c)
		if err != nil {
			s.ended <- err
			return
		}
		s.requests <- frame[4:]
		c.Write(answerTo(frame))
	}
}

func answerTo(request []byte) []byte {
	body := request[8:] // correlation id and what follows
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// client is a connection through the proxy.
type client struct {
	net.Conn
	t *testing.T
}

func dial(t *testing.T, p *Proxy) *client {
	t.Helper()
	c, err := net.Dial("tcp", p.Addrs()[0])
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(patience)))
	return &client{c, t}
}

func startProxy(t *testing.T, o Options) (*Proxy, *stub) {
	t.Helper()
	s := newStub(t)
	p, err := New([]string{s.Addr().String()}, o)
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	return p, s
}

// dialRefused fails the test if the proxy lets anybody stay. A reset may come as
// early as within the dial.
func dialRefused(t *testing.T, p *Proxy) {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addrs()[0])
	if err != nil {
		return
	}
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	(&client{conn, t}).expectEnd()
}

// request is a request frame; the body is 100 bytes.
func request(key int16, id int32) []byte {
	b := binary.BigEndian.AppendUint32(nil, 108)
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(id))
	for i := range 100 {
		b = append(b, byte(i))
	}
	return b
}

func (c *client) send(key int16, id int32) {
	c.t.Helper()
	_, err := c.Write(request(key, id))
	must(c.t, err)
}

// expect reads the answer to a request.
func (c *client) expect(key int16, id int32) {
	c.t.Helper()
	want := answerTo(request(key, id))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != string(want) {
		c.t.Fatalf("answer %x, %v; want %x", got, err, want)
	}
}

// expectEnd reads what is left and fails the test unless the connection ends.
func (c *client) expectEnd() []byte {
	c.t.Helper()
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the connection lives on")
	}
	return b
}

// expectSilence fails the test if anything comes within a moment.
func (c *client) expectSilence() {
	c.t.Helper()
	must(c.t, c.SetReadDeadline(time.Now().Add(30*time.Millisecond)))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read %d bytes, %v; want silence", n, err)
	}
	must(c.t, c.SetReadDeadline(time.Now().Add(patience)))
}

func (s *stub) expect(t *testing.T, id int32) {
	t.Helper()
	select {
	case f := <-s.requests:
		if got := int32(binary.BigEndian.Uint32(f[4:])); got != id {
			t.Fatalf("the broker got request %d, want %d", got, id)
		}
	case <-time.After(patience):
		t.Fatalf("the broker never got request %d", id)
	}
}

// expectNone is called when the connection to the broker has ended.
func (s *stub) expectNone(t *testing.T) {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatal("the broker's connection lives on")
	}
	select {
	case f := <-s.requests:
		t.Fatalf("the broker got %x", f)
	default:
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
