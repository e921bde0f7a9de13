package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
)

// requestMaxBytes is Kafka's socket.request.max.bytes. A first frame beyond it
// is no Kafka request: the client speaks TLS, HTTP or something else.
const requestMaxBytes = 100 << 20

// listeners opens the brokers' listeners on the configured host.
type listeners struct {
	host  string
	port  string
	plain bool
	next  int
	err   error // the last failure, with its address
	open  []*frameListener
}

func newListeners(listen string, plain bool) (*listeners, error) {
	if listen == "" {
		listen = defaultListen
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: listen = %q is not host:port, such as %q: %w", listen, defaultListen, err)
	}
	return &listeners{host: host, port: port, plain: plain}, nil
}

// listen is kfake's listen function. kfake asks for 127.0.0.1 only, so its
// address is replaced by ours.
func (l *listeners) listen(network, _ string) (net.Listener, error) {
	addr := net.JoinHostPort(l.host, l.port)
	if l.next > 0 {
		addr = net.JoinHostPort(l.host, "0")
	}
	l.next++
	ln, err := net.Listen(network, addr)
	if err != nil {
		l.err = listenError(addr, err)
		return nil, l.err
	}
	if !l.plain {
		return ln, nil
	}
	fl := newFrameListener(ln)
	l.open = append(l.open, fl)
	return fl, nil
}

func listenError(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("embedded broker: address %q is taken by another program; stop it, or choose another port, or port 0 for a free one: %w", addr, err)
	}
	return fmt.Errorf("embedded broker: listen on %q: %w", addr, err)
}

// frameListener hands out connections that end when their first frame cannot be
// Kafka's. kfake trusts the length: a TLS greeting would make it allocate 369
// MB and wait for them.
//
// Its connections come from the port, and from Broker.Dial.
type frameListener struct {
	net.Listener
	conns  chan net.Conn
	closed chan struct{} // no more connections come
	once   sync.Once
}

func newFrameListener(ln net.Listener) *frameListener {
	l := &frameListener{Listener: ln, conns: make(chan net.Conn), closed: make(chan struct{})}
	go l.acceptAll()
	return l
}

func (l *frameListener) acceptAll() {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			l.once.Do(func() { close(l.closed) })
			return
		}
		if !l.offer(context.Background(), c) {
			c.Close()
			return
		}
	}
}

// offer hands c to Accept, unless the listener or ctx ends before.
func (l *frameListener) offer(ctx context.Context, c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.closed:
	case <-ctx.Done():
	}
	return false
}

func (l *frameListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return &frameConn{Conn: c}, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *frameListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type frameConn struct {
	net.Conn
	once sync.Once
	err  error
	head []byte // of the first frame, not yet read by kfake
}

func (c *frameConn) Read(p []byte) (int, error) {
	c.once.Do(c.check)
	if c.err != nil {
		return 0, c.err
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *frameConn) check() {
	head := make([]byte, 4)
	if _, c.err = io.ReadFull(c.Conn, head); c.err != nil {
		return
	}
	if n := binary.BigEndian.Uint32(head); n > requestMaxBytes {
		c.err = fmt.Errorf("first frame of %d bytes is no Kafka request", n)
		return
	}
	c.head = head
}
