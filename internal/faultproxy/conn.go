package faultproxy

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// frameMax bounds a frame, as brokers' socket.request.max.bytes does.
	frameMax = 100 << 20
	// queueFrames is how many frames of one direction may be under way. Beyond
	// that the sender feels it.
	queueFrames = 64
	// lastReplies bounds how long the broker may take to handle what a client
	// left behind.
	lastReplies = 30 * time.Second
)

// conn is a client's connection and the one to the broker.
type conn struct {
	proxy  *Proxy
	front  *front
	client net.Conn
	broker net.Conn
	ctx    context.Context // ends with both
	cancel context.CancelFunc

	mu      sync.Mutex
	pending map[int32]asked // by correlation id
	gone    bool            // the client is
	idle    chan struct{}   // closed when gone and nothing is pending

	noRequests, noReplies atomic.Bool
}

// asked is a request without a reply.
type asked struct{ key, version int16 }

// parcel is a frame on its way.
type parcel struct {
	frame []byte // with its length
	due   time.Time
	// cut is how many bytes are passed on before the end; -1: all, and no end.
	cut int
	// then is called after the frame, nil for nothing.
	then func()
}

func (p *Proxy) serve(f *front, client net.Conn) {
	defer p.running.Done()
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	var d net.Dialer
	broker, err := d.DialContext(ctx, "tcp", f.broker)
	if err != nil {
		abort(client)
		return
	}
	c := &conn{proxy: p, front: f, client: client, broker: broker, ctx: ctx, cancel: cancel, pending: map[int32]asked{}, idle: make(chan struct{})}
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	c.run()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// run passes frames on until both sides are done.
func (c *conn) run() {
	defer context.AfterFunc(c.ctx, c.closeBoth)()
	if age := c.proxy.lifetime(); age > 0 {
		t := time.AfterFunc(age, func() { c.proxy.count("lifetime"); c.reset() })
		defer t.Stop()
	}
	requests, replies := make(chan parcel, queueFrames), make(chan parcel, queueFrames)
	var all sync.WaitGroup
	all.Go(func() { defer close(requests); c.readRequests(requests); c.leave() })
	all.Go(func() { c.write(c.broker, requests); c.linger() })
	all.Go(func() { defer close(replies); c.readReplies(replies) })
	all.Go(func() { c.write(c.client, replies); c.client.Close() })
	all.Wait()
	c.cancel()
}

func (c *conn) closeBoth() {
	c.client.Close()
	c.broker.Close()
}

// reset ends the client's side; what it has sent still reaches the broker.
func (c *conn) reset() { abort(c.client) }

func (c *conn) resetBoth() {
	c.reset()
	c.broker.Close()
}

func (c *conn) swallows() bool { return c.noRequests.Load() || c.noReplies.Load() }

// leave notes that no more requests come.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	c.checkIdle()
}

// checkIdle is called with c.mu held.
func (c *conn) checkIdle() {
	if c.gone && len(c.pending) == 0 {
		select {
		case <-c.idle:
		default:
			close(c.idle)
		}
	}
}

// linger waits until the broker has handled what the client left behind.
func (c *conn) linger() {
	if !c.noRequests.Load() {
		t := time.NewTimer(lastReplies)
		defer t.Stop()
		select {
		case <-c.idle:
		case <-c.ctx.Done():
		case <-t.C:
		}
	}
	c.broker.Close()
}

// write passes parcels on when they are due.
func (c *conn) write(to net.Conn, parcels <-chan parcel) {
	broken := false
	for p := range parcels {
		if broken || !c.await(p.due) {
			broken = true
			continue // the reader must not be stuck
		}
		frame := p.frame
		if p.cut >= 0 {
			frame = frame[:p.cut]
		}
		if err := c.shape(to, frame); err != nil {
			broken = true
			if to == c.broker {
				c.reset()
			}
		}
		if p.then != nil {
			p.then()
		}
	}
}

// await waits for the time and while the broker is stopped. It reports false
// when the connection has ended.
func (c *conn) await(due time.Time) bool {
	if d := time.Until(due); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.ctx.Done():
			return false
		}
	}
	for {
		stopped := c.proxy.stopped(c.front.index)
		if stopped == nil {
			return c.ctx.Err() == nil
		}
		select {
		case <-stopped:
		case <-c.ctx.Done():
			return false
		}
	}
}

// shape writes a frame as the link lets it pass.
func (c *conn) shape(to net.Conn, frame []byte) error {
	link := c.proxy.currentLink()
	size := link.Slice
	if size <= 0 {
		size = len(frame)
		if link.BytesPerSecond > 0 {
			size = max(1, link.BytesPerSecond/100)
		}
	}
	for len(frame) > 0 {
		n := min(size, len(frame))
		if _, err := to.Write(frame[:n]); err != nil {
			return err
		}
		frame = frame[n:]
		if link.BytesPerSecond > 0 {
			if !c.await(time.Now().Add(time.Duration(n) * time.Second / time.Duration(link.BytesPerSecond))) {
				return c.ctx.Err()
			}
		}
	}
	return nil
}

// readRequests takes the client's frames in.
func (c *conn) readRequests(out chan<- parcel) {
	for {
		frame, err := readFrame(c.client)
		if err != nil {
			return
		}
		if len(frame) < 12 {
			c.reset() // no request
			return
		}
		req := Request{Broker: c.front.index, Key: int16(binary.BigEndian.Uint16(frame[4:])), Version: int16(binary.BigEndian.Uint16(frame[6:])), Correlation: int32(binary.BigEndian.Uint32(frame[8:])), Frame: frame[4:]}
		if c.proxy.observe != nil {
			c.proxy.observe(req)
		}
		if !c.request(req, frame, out) {
			return
		}
	}
}

// request passes one request on, or does what a rule says. It reports whether
// more may come.
func (c *conn) request(req Request, frame []byte, out chan<- parcel) bool {
	p := parcel{frame: frame, due: time.Now().Add(c.proxy.currentLink().Latency), cut: -1}
	more := true
	if h := c.proxy.strike(req.Broker, req.Key, &req); h != nil {
		switch h.rule.Action {
		case CutBeforeRequest:
			c.reset()
			return false
		case CutInRequest:
			p.cut, p.then, more = 1+h.roll(req.Broker, len(frame)-1), c.resetBoth, false
		case CutAfterRequest:
			p.then, more = c.reset, false
		case HoldRequest:
			p.due = p.due.Add(h.rule.delay())
		case SwallowRequests:
			c.noRequests.Store(true)
		case Swallow:
			c.noRequests.Store(true)
			c.noReplies.Store(true)
		}
	}
	if c.noRequests.Load() {
		return true
	}
	if p.cut < 0 && expectsReply(req) {
		c.mu.Lock()
		c.pending[req.Correlation] = asked{req.Key, req.Version}
		c.mu.Unlock()
	}
	return c.hand(out, p) && more
}

func (c *conn) hand(out chan<- parcel, p parcel) bool {
	select {
	case out <- p:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// readReplies takes the broker's frames in.
func (c *conn) readReplies(out chan<- parcel) {
	for {
		frame, err := readFrame(c.broker)
		if err != nil || len(frame) < 8 {
			return
		}
		id := int32(binary.BigEndian.Uint32(frame[4:]))
		c.mu.Lock()
		q, known := c.pending[id]
		delete(c.pending, id)
		c.checkIdle()
		c.mu.Unlock()
		if known {
			frame = c.proxy.rewrite(q, frame)
		}
		if !c.reply(q, frame, out) {
			return
		}
	}
}

// reply passes one reply on, or does what a rule says.
func (c *conn) reply(q asked, frame []byte, out chan<- parcel) bool {
	p := parcel{frame: frame, due: time.Now().Add(c.proxy.currentLink().Latency), cut: -1}
	broker := c.front.index
	if h := c.proxy.strike(broker, q.key, nil); h != nil {
		switch h.rule.Action {
		case CutBeforeReply:
			p.cut, p.then = 0, c.reset
		case CutInReply:
			p.cut, p.then = 1+h.roll(broker, len(frame)-1), c.reset
		case CutAfterReply:
			p.then = c.reset
		case HoldReply:
			p.due = p.due.Add(h.rule.delay())
		case SwallowReplies:
			c.noReplies.Store(true)
		default:
			p.frame = mutate(h, broker, frame)
		}
	}
	if c.noReplies.Load() {
		return true
	}
	return c.hand(out, p)
}

// readFrame reads a frame with its length. Memory is taken for what arrives.
func readFrame(from io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:])))
	if size < 4 || size > frameMax {
		return nil, fmt.Errorf("a frame claims %d bytes", size)
	}
	if size <= 1<<20 {
		frame := append(make([]byte, 0, 4+size), head[:]...)[:4+size]
		_, err := io.ReadFull(from, frame[4:])
		return frame, err
	}
	rest, err := io.ReadAll(io.LimitReader(from, int64(size)))
	if err == nil && len(rest) < size {
		err = io.ErrUnexpectedEOF
	}
	return append(head[:], rest...), err
}
