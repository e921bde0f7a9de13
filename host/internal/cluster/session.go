package cluster

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// sessionConn listens in on sarama's login for how long the broker lets a login
// live (KIP-368, connections.max.reauth.ms): sarama keeps it to itself.
type sessionConn struct {
	net.Conn

	mu          sync.Mutex
	version     int16
	correlation int32
	asked       bool   // the answer to a SaslAuthenticate is awaited
	in          []byte // of the answer that is arriving
	renewAt     time.Time
}

// maxSessionAnswer bounds what is kept of an answer; one to a login is short.
const maxSessionAnswer = 64 << 10

// Write is called by sarama with whole requests.
func (c *sessionConn) Write(p []byte) (int, error) {
	if len(p) >= 12 && int16(binary.BigEndian.Uint16(p[4:])) == int16(kmsg.SASLAuthenticate) {
		c.mu.Lock()
		c.version, c.correlation = int16(binary.BigEndian.Uint16(p[6:])), int32(binary.BigEndian.Uint32(p[8:]))
		c.asked, c.in = true, nil
		c.mu.Unlock()
	}
	return c.Conn.Write(p)
}

func (c *sessionConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked {
		c.heard(p[:n])
	}
	return n, err
}

// heard takes a piece of the answer. sarama logs in with one request at a time, so
// nothing else arrives.
func (c *sessionConn) heard(p []byte) {
	c.in = append(c.in, p...)
	if len(c.in) < 8 {
		return
	}
	size := binary.BigEndian.Uint32(c.in)
	if size > maxSessionAnswer {
		c.asked, c.in = false, nil
		return
	}
	if uint32(len(c.in)-4) < size {
		return
	}
	frame := c.in[4 : 4+size]
	c.asked, c.in = false, nil
	if lifetime := sessionLifetime(frame, c.version, c.correlation); lifetime > 0 {
		// As Kafka's client: between 85 and 95 % of it, so that connections do
		// not all renew at once.
		c.renewAt = time.Now().Add(time.Duration(float64(lifetime) * (0.85 + 0.1*rand.Float64())))
	}
}

// sessionLifetime reads an answer to SaslAuthenticate. It is 0 where the answer is
// none, refuses, or sets no limit.
func sessionLifetime(frame []byte, version int16, correlation int32) time.Duration {
	if len(frame) < 4 || int32(binary.BigEndian.Uint32(frame)) != correlation {
		return 0
	}
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.Version = version
	body := frame[4:]
	if resp.IsFlexible() {
		var err error
		if body, err = skipTags(body); err != nil {
			return 0
		}
	}
	const longest = int64(1<<63-1) / int64(time.Millisecond)
	if err := resp.ReadFrom(body); err != nil || resp.ErrorCode != 0 || resp.SessionLifetimeMillis <= 0 {
		return 0
	}
	return time.Duration(min(resp.SessionLifetimeMillis, longest)) * time.Millisecond
}

// renewal returns when to log in anew, zero for never.
func (c *sessionConn) renewal() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.renewAt
}
