package cluster

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// Conn is a connection to a broker, opened and authenticated. Whoever holds it
// writes and reads whole Kafka frames on it; nobody else uses it. Close may be
// called at any time, by anyone.
//
// The embedded connection is the *net.TCPConn, or what WithDialer returned, or
// the *tls.Conn over it: on a *net.TCPConn net.Buffers are written by one writev.
//
// A broker may demand that one logs in again (KIP-368, connections.max.reauth.ms),
// and closes the connection when a request comes later than that: see RenewAt.
type Conn struct {
	net.Conn
	broker   *sarama.Broker
	versions map[int16][2]int16
	clientID string
	renewAt  time.Time
	once     sync.Once
	err      error

	// For Request.
	correlation int32
	frame       []byte
}

// Version returns the lowest and highest version of a request that the broker
// takes; ok is false where it does not know the request.
func (c *Conn) Version(apiKey int16) (min, max int16, ok bool) {
	v, ok := c.versions[apiKey]
	return v[0], v[1], ok
}

// RenewAt returns when the connection should be replaced by a new one, which logs
// in again, before the broker ends it; zero for never. No request may be under way
// then.
func (c *Conn) RenewAt() time.Time { return c.renewAt }

// Broker returns sarama's end of the connection, for whoever lets sarama write and
// read on it. Nobody may use both.
func (c *Conn) Broker() *sarama.Broker { return c.broker }

// Close ends the connection.
func (c *Conn) Close() error {
	c.once.Do(func() {
		// The socket first: sarama's Close waits for its reader.
		c.err = c.Conn.Close()
		_ = c.broker.Close()
	})
	return c.err
}

// Dial opens a connection of its own to a broker. The caller closes it. Errors
// wrap klamm.ErrBrokerUnreachable and name the broker's address.
func (c *Cluster) Dial(ctx context.Context, broker int32) (*Conn, error) {
	addr, ok := c.brokerAddr(broker)
	if !ok {
		c.Refresh()
		return nil, unreachable([]error{fmt.Errorf("broker %d is not in the cluster's metadata", broker)})
	}
	l, err := c.open(ctx, broker, addr)
	if err != nil {
		return nil, unreachable([]error{err})
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.settings.dialTimeout, errDialTimeout{c.settings.dialTimeout})
	defer cancel()
	conn, err := l.detach(ctx)
	if err != nil {
		l.close()
		return nil, unreachable([]error{l.explain(ctx, c.settings, err)})
	}
	return conn, nil
}

// link is a connection that sarama uses for requests.
type link struct {
	id       int32 // -1: not known
	addr     string
	clientID string
	broker   *sarama.Broker
	dialer   *captureDialer
	stage    stage
}

// stage is how far a connection has come. What an early end means depends on
// it.
type stage int

const (
	opening stage = iota
	firstRequest
	inUse
)

// open connects, encrypts and logs in within the dial timeout.
func (c *Cluster) open(ctx context.Context, id int32, addr string) (*link, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.settings.dialTimeout, errDialTimeout{c.settings.dialTimeout})
	defer cancel()

	l := &link{id: id, addr: addr, clientID: c.settings.sarama.ClientID, broker: sarama.NewBroker(addr)}
	l.dialer = &captureDialer{ctx: ctx, tls: c.settings.tls, sockets: c.settings.sockets, dialTimeout: c.settings.dialTimeout, sasl: c.settings.sasl.Mechanism != "", dial: c.settings.dial}
	conf := *c.settings.sarama
	conf.Net.Proxy.Enable = true
	conf.Net.Proxy.Dialer = l.dialer
	if err := l.broker.Open(&conf); err != nil {
		return nil, err
	}
	// Connected waits for sarama's goroutine, which knows no context.
	stop := context.AfterFunc(ctx, l.dialer.abort)
	defer stop()
	ok, err := l.broker.Connected()
	if err == nil && !ok {
		err = sarama.ErrNotConnected
	}
	if err != nil {
		l.close()
		return nil, l.explain(ctx, c.settings, err)
	}
	l.stage = inUse
	return l, nil
}

// close ends the connection, from any goroutine and in any state.
func (l *link) close() {
	l.dialer.abort()
	_ = l.broker.Close()
}

// do runs f, which uses l's broker, and ends the connection when ctx does: that
// is the only way to call one of sarama's requests back.
func (l *link) do(ctx context.Context, f func(b *sarama.Broker) error) error {
	stop := context.AfterFunc(ctx, l.dialer.abort)
	defer stop()
	err := f(l.broker)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// detach takes the connection out of sarama's hands.
func (l *link) detach(ctx context.Context) (*Conn, error) {
	var resp *sarama.ApiVersionsResponse
	err := l.do(ctx, func(b *sarama.Broker) (err error) {
		resp, err = b.ApiVersions(&sarama.ApiVersionsRequest{Version: 3, ClientSoftwareName: "klamm", ClientSoftwareVersion: "0"})
		return err
	})
	if err != nil {
		return nil, err
	}
	if resp.ErrorCode != 0 {
		return nil, brokerError(sarama.KError(resp.ErrorCode), nil)
	}
	c := &Conn{
		Conn:     l.dialer.inner(),
		broker:   l.broker,
		versions: make(map[int16][2]int16, len(resp.ApiKeys)),
		clientID: l.clientID,
	}
	if l.dialer.session != nil {
		c.renewAt = l.dialer.session.renewal()
	}
	for _, k := range resp.ApiKeys {
		c.versions[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
	}
	// sarama has set deadlines for its own requests.
	return c, c.SetDeadline(time.Time{})
}

// captureDialer is the dialer that sarama is given. It keeps the connection,
// and speaks TLS itself: sarama would hide the handshake's errors and the
// connection.
type captureDialer struct {
	ctx         context.Context
	tls         *tls.Config
	sockets     socketBuffers
	dialTimeout time.Duration
	dial        func(ctx context.Context, network, addr string) (net.Conn, error) // nil: net.Dialer's
	sasl        bool

	mu      sync.Mutex
	session *sessionConn // with SASL
	conn    net.Conn     // as sarama uses it
	raw     net.Conn
	aborted bool
	// answered tells that the broker has sent anything.
	answered atomic.Bool
}

var errAborted = errors.New("connection given up")

// Dial is called by sarama, once.
func (d *captureDialer) Dial(network, addr string) (net.Conn, error) {
	dial := d.dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: d.dialTimeout}).DialContext
	}
	raw, err := dial(d.ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if err := d.sockets.set(raw); err != nil {
		raw.Close()
		return nil, err
	}
	if d.tls != nil {
		if raw, err = d.handshake(raw, addr); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.aborted {
		raw.Close()
		return nil, errAborted
	}
	d.raw, d.conn = raw, &firstAnswerConn{Conn: raw, plain: d.tls == nil, answered: &d.answered}
	if d.sasl {
		d.session = &sessionConn{Conn: d.conn}
		d.conn = d.session
	}
	return d.conn, nil
}

// socketBuffers are the sizes of a socket's buffers in bytes; 0 leaves them to
// the operating system.
type socketBuffers struct{ send, receive int }

func (s socketBuffers) set(conn net.Conn) error {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	if s.send > 0 {
		if err := tcp.SetWriteBuffer(s.send); err != nil {
			return fmt.Errorf("send_buffer_bytes %d: %w", s.send, err)
		}
	}
	if s.receive > 0 {
		if err := tcp.SetReadBuffer(s.receive); err != nil {
			return fmt.Errorf("receive_buffer_bytes %d: %w", s.receive, err)
		}
	}
	return nil
}

func (d *captureDialer) handshake(raw net.Conn, addr string) (net.Conn, error) {
	conf := d.tls
	if conf.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			raw.Close()
			return nil, err
		}
		conf = conf.Clone()
		conf.ServerName = host
	}
	tc := tls.Client(raw, conf)
	if err := tc.HandshakeContext(d.ctx); err != nil {
		raw.Close()
		return nil, &handshakeError{server: conf.ServerName, err: err}
	}
	return tc, nil
}

func (d *captureDialer) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.aborted = true
	if d.raw != nil {
		d.raw.Close()
	}
}

func (d *captureDialer) inner() net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.raw
}

// answerMaxBytes bounds the first answer, ApiVersions. sarama would allocate
// whatever length it reads.
const answerMaxBytes = 1 << 20

// firstAnswerConn looks at the first bytes that come back: on a plaintext
// connection they tell a broker from a TLS port or another server.
type firstAnswerConn struct {
	net.Conn
	plain    bool
	answered *atomic.Bool
}

func (c *firstAnswerConn) Read(p []byte) (int, error) {
	if c.answered.Load() || len(p) < 5 {
		return c.Conn.Read(p)
	}
	n := 0
	for n < 5 { // an answer has at least 8 bytes, a TLS alert 7
		m, err := c.Conn.Read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	c.answered.Store(true)
	if c.plain && (p[0] == 0x15 || p[0] == 0x16) && p[1] == 0x03 {
		return 0, errAnswerIsTLS
	}
	if size := binary.BigEndian.Uint32(p); size > answerMaxBytes {
		return 0, errAnswerNotKafka
	}
	return n, nil
}

// clientDialer is for sarama clients that keep their connections.
type clientDialer struct {
	tls     *tls.Config
	sockets socketBuffers
	timeout time.Duration
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
}

func (d *clientDialer) Dial(network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), d.timeout, errDialTimeout{d.timeout})
	defer cancel()
	return (&captureDialer{ctx: ctx, tls: d.tls, sockets: d.sockets, dialTimeout: d.timeout, dial: d.dial}).Dial(network, addr)
}
