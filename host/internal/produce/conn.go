package produce

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/klamm-io/klamm"
)

// request is a Produce request that waits for its answer.
type request struct {
	batches  []*batch
	id       int32 // correlation id
	version  int16
	sentAt   time.Duration
	deadline time.Duration
	// written gets a value when the write is over, in whatever way. Until then
	// the connection may read the batches.
	written chan struct{}
}

// conn is a connection with requests in flight. The sender's goroutine writes;
// a goroutine of the connection's own reads, and once it is broken gives every
// request back.
type conn struct {
	sender    *sender
	transport transport
	version   int16
	implicit  bool // the broker takes implicitVersion
	frame     frame

	// unwatch ends the watch over the pipeline's end.
	unwatch func() bool

	mu      sync.Mutex
	pending []*request // sent and not answered, oldest first
	err     error      // why the connection is of no more use
	useful  bool       // it has brought an answer
	idle    bool       // it ended with nothing pending
	usedAt  time.Duration
	renewAt time.Duration // when its login ends; 0: never
	timer   *time.Timer
	armed   bool
}

var (
	errRequestTimeout = errors.New("no answer within request_timeout_ms")
	errIdle           = errors.New("closed after connections_max_idle_ms")
	errRenewed        = errors.New("closed to log in again")
	errNotAsked       = errors.New("an answer without a request")
)

func newConn(s *sender, t transport) (*conn, error) {
	low, high := t.ProduceVersions()
	version := min(high, maxProduceVersion)
	if version < max(low, minProduceVersion) {
		return nil, &klamm.BrokerError{Code: klamm.CodeUnsupportedVersion, Message: fmt.Sprintf("broker %d takes Produce %d to %d, this client writes %d to %d", s.broker, low, high, minProduceVersion, maxProduceVersion)}
	}
	if s.pipeline.set.codec == codecZstd && version < firstZstd {
		return nil, &klamm.BrokerError{Code: klamm.CodeUnsupportedVersion, Message: fmt.Sprintf("broker %d is too old for compression_type = \"zstd\"", s.broker)}
	}
	c := &conn{sender: s, transport: t, version: version, implicit: high >= implicitVersion, usedAt: s.pipeline.now()}
	c.frame.transactionalID = s.pipeline.set.transactionalID
	if at := t.RenewAt(); !at.IsZero() {
		c.renewAt = max(1, at.Sub(s.pipeline.start))
	}
	c.timer = time.AfterFunc(time.Hour, c.checkTimeout)
	c.timer.Stop()
	if idle := s.pipeline.set.idle; idle > 0 {
		c.timer.Reset(idle)
	}
	// The sender may hang in a write when the pipeline ends.
	c.unwatch = context.AfterFunc(s.pipeline.ctx, func() { c.fail(errEnded) })
	s.pipeline.running.Add(1)
	go c.read()
	return c, nil
}

// renew retires a connection whose login is about to end, once nothing is under
// way on it. Until then it has no room.
func (c *conn) renew(now time.Duration) {
	c.mu.Lock()
	due := c.ends(now) && c.err == nil && len(c.pending) == 0
	if due {
		c.err = fmt.Errorf("broker %d: %w", c.sender.broker, errRenewed)
		c.useful, c.idle = true, true
		c.timer.Stop()
	}
	c.mu.Unlock()
	if due {
		c.transport.Close()
	}
}

func (c *conn) ends(now time.Duration) bool { return c.renewAt > 0 && now >= c.renewAt }

// room reports whether another request may be sent.
func (c *conn) room(now time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.ends(now) && len(c.pending) < c.sender.pipeline.set.maxInFlight
}

// broken returns why the connection is of no more use, nil if it is fine.
func (c *conn) broken() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// retired reports whether a connection that worked was ended while it had
// nothing to do, as brokers do with idle ones (connections.max.idle.ms).
func (c *conn) retired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil && c.useful && c.idle
}

// send writes a request. It reports false when the connection was broken
// before: then nothing was sent. If the write fails, the reader gives the
// request back.
func (c *conn) send(r *request) bool {
	p := c.sender.pipeline
	r.version = c.version
	if c.implicit && p.txn != nil && p.txn.implicit.Load() {
		r.version = implicitVersion
	}
	pieces := c.frame.encode(r.version, r.id, p.clientID, p.set.acks, p.set.request, r.batches)
	if !c.push(r) {
		return false
	}
	err := c.transport.WriteFrame(pieces)
	if err != nil {
		c.fail(fmt.Errorf("write to broker %d: %w", c.sender.broker, err))
	}
	r.written <- struct{}{}
	if p.set.acks == 0 && err == nil {
		c.popUnanswered(r)
	}
	return true
}

func (c *conn) push(r *request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	c.pending = append(c.pending, r)
	if !c.armed {
		c.armed = true
		c.timer.Reset(c.sender.pipeline.set.request)
	}
	return true
}

// pop takes the oldest request off.
func (c *conn) pop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.useful = true
	copy(c.pending, c.pending[1:])
	c.pending[len(c.pending)-1] = nil
	c.pending = c.pending[:len(c.pending)-1]
	c.usedAt = c.sender.pipeline.now()
}

// oldest returns the request that is answered next, nil if there is none.
func (c *conn) oldest() *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		return nil
	}
	return c.pending[0]
}

// popUnanswered completes a request that gets no answer (acks=0), unless the
// reader found the connection broken and has given it back.
func (c *conn) popUnanswered(r *request) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.pending = c.pending[:0]
	c.useful = true
	c.usedAt = c.sender.pipeline.now()
	c.mu.Unlock()
	<-r.written
	c.sender.answered(r, 0)
	for _, b := range r.batches {
		c.sender.pipeline.answered(c.sender, b, &answer{baseOffset: -1, logAppend: -1, leader: -1})
	}
	c.sender.done(r)
}

// fail makes the connection unusable, for the first reason that is given.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
		c.idle = len(c.pending) == 0
	}
	c.timer.Stop()
	c.mu.Unlock()
	c.transport.Close()
}

// checkTimeout runs when the oldest request may have waited too long, or the
// connection may have been without use for too long.
func (c *conn) checkTimeout() {
	c.mu.Lock()
	if c.err != nil || len(c.pending) == 0 {
		c.armed = false
		c.checkIdle() // unlocks
		return
	}
	if left := c.pending[0].deadline - c.sender.pipeline.now(); left > 0 {
		c.timer.Reset(left)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	c.fail(fmt.Errorf("broker %d: %w %s", c.sender.broker, errRequestTimeout, c.sender.pipeline.set.request))
}

// checkIdle closes a connection without use before the broker does: a request
// that crosses the broker's closing would be sent in vain. It unlocks c.mu.
func (c *conn) checkIdle() {
	idle := c.sender.pipeline.set.idle
	if c.err != nil || idle == 0 {
		c.mu.Unlock()
		return
	}
	if left := c.usedAt + idle - c.sender.pipeline.now(); left > 0 {
		c.timer.Reset(left)
		c.mu.Unlock()
		return
	}
	// Retired, not broken. It is done under the lock: no request can slip in.
	c.err = fmt.Errorf("broker %d: %w %s", c.sender.broker, errIdle, idle)
	c.useful, c.idle = true, true
	c.mu.Unlock()
	c.transport.Close()
}

// read takes answers until the connection ends, then gives back what is left.
func (c *conn) read() {
	defer c.sender.pipeline.running.Done()
	in := bufio.NewReaderSize(c.transport, 4<<10)
	var body []byte
	var resp response
	for {
		var err error
		if body, err = readFrame(in, body); err == nil {
			err = c.answer(&resp, body)
		}
		if err != nil {
			c.fail(fmt.Errorf("broker %d: %w", c.sender.broker, err))
			break
		}
	}
	c.unwatch()
	c.giveBack()
}

// answer handles the answer to the oldest request.
func (c *conn) answer(resp *response, body []byte) error {
	r := c.oldest()
	if r == nil {
		return errNotAsked
	}
	if len(body) < 4 {
		return errTruncated
	}
	if id := int32(binary.BigEndian.Uint32(body)); id != r.id {
		return fmt.Errorf("an answer with correlation id %d, not %d", id, r.id)
	}
	// A broker may answer before it has taken the whole request in.
	<-r.written
	if err := resp.decode(r.version, body[4:], r.batches); err != nil {
		r.written <- struct{}{} // giveBack waits for it
		return err
	}
	s := c.sender
	s.answered(r, resp.throttle)
	for i, b := range r.batches {
		s.pipeline.answered(s, b, &resp.answers[i])
	}
	c.pop()
	s.done(r)
	s.kick()
	s.pipeline.breath.answered()
	return nil
}

// giveBack has what was not answered retried.
func (c *conn) giveBack() {
	err := c.broken()
	s := c.sender
	for r := c.oldest(); r != nil; r = c.oldest() {
		<-r.written
		s.pipeline.count.requestsInFlight.Add(-1)
		for _, b := range r.batches {
			s.pipeline.answered(s, b, &answer{code: klamm.CodeNetworkException, baseOffset: -1, logAppend: -1, logStart: -1, leader: -1, cause: err})
		}
		c.pop()
		s.done(r)
	}
	s.kick()
}

// readFrame reads a frame into buf. It takes memory only for what has arrived,
// not for the length that the frame claims.
func readFrame(in *bufio.Reader, buf []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return buf, fmt.Errorf("read an answer: %w", err)
	}
	size := int(int32(binary.BigEndian.Uint32(head[:])))
	if size < 4 || size > maxResponse {
		return buf, fmt.Errorf("read an answer: it claims %d bytes", size)
	}
	buf = buf[:0]
	for len(buf) < size {
		step := min(size-len(buf), max(4<<10, len(buf)))
		at := len(buf)
		if cap(buf)-at < step {
			buf = append(buf, make([]byte, step)...)
		} else {
			buf = buf[:at+step]
		}
		if _, err := io.ReadFull(in, buf[at:]); err != nil {
			return buf, fmt.Errorf("read an answer: %w", err)
		}
	}
	return buf, nil
}
