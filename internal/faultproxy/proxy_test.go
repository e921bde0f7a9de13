package faultproxy

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const key = 3

// TestActions strikes the second of three requests.
func TestActions(t *testing.T) {
	tests := []struct {
		action Action
		check  func(t *testing.T, c *client, s *stub)
	}{
		{CutBeforeRequest, func(t *testing.T, c *client, s *stub) {
			c.expectEnd()
			s.expectNone(t)
		}},
		{CutInRequest, func(t *testing.T, c *client, s *stub) {
			c.expectEnd()
			if err := <-s.ended; !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				t.Errorf("the broker's connection ended with %v", err)
			}
		}},
		{CutAfterRequest, func(t *testing.T, c *client, s *stub) {
			if b := c.expectEnd(); len(b) > 0 {
				t.Errorf("an answer of %d bytes came", len(b))
			}
			s.expect(t, 2)
		}},
		{CutBeforeReply, func(t *testing.T, c *client, s *stub) {
			s.expect(t, 2)
			if b := c.expectEnd(); len(b) > 0 {
				t.Errorf("an answer of %d bytes came", len(b))
			}
		}},
		{CutInReply, func(t *testing.T, c *client, s *stub) {
			s.expect(t, 2)
			if b := c.expectEnd(); len(b) >= 108 {
				t.Errorf("an answer of %d bytes came", len(b))
			}
		}},
		{CutAfterReply, func(t *testing.T, c *client, s *stub) {
			s.expect(t, 2)
			c.expectEnd() // a reset may overtake the answer
		}},
		{HoldReply, func(t *testing.T, c *client, s *stub) {
			s.expect(t, 2)
			c.expect(key, 2)
		}},
		{HoldRequest, func(t *testing.T, c *client, s *stub) {
			c.Close() // the broker gets it nevertheless
			s.expect(t, 2)
		}},
		{SwallowRequests, func(t *testing.T, c *client, s *stub) {
			c.send(key, 3)
			c.expectSilence()
			c.Close()
			s.expectNone(t)
		}},
		{SwallowReplies, func(t *testing.T, c *client, s *stub) {
			c.send(key, 3)
			s.expect(t, 2)
			s.expect(t, 3)
			c.expectSilence()
		}},
		{Swallow, func(t *testing.T, c *client, s *stub) {
			c.expectSilence()
			c.Close()
			s.expectNone(t)
		}},
		{WrongCorrelation, func(t *testing.T, c *client, s *stub) {
			if f, err := readFrame(c); err != nil || len(f) != 108 || binary.BigEndian.Uint32(f[4:]) == 2 {
				t.Errorf("answer %x, %v", f, err)
			}
		}},
		{OversizedLength, func(t *testing.T, c *client, s *stub) { c.expectLength(math.MaxInt32) }},
		{NegativeLength, func(t *testing.T, c *client, s *stub) { c.expectLength(-5) }},
		{Garbage, func(t *testing.T, c *client, s *stub) {
			f, err := readFrame(c)
			if err != nil || len(f) != 108 || binary.BigEndian.Uint32(f[4:]) != 2 || slices.Equal(f, answerTo(request(key, 2))) {
				t.Errorf("answer %x, %v", f, err)
			}
		}},
		{Truncate, func(t *testing.T, c *client, s *stub) {
			if f, err := readFrame(c); err != nil || len(f) >= 108 || binary.BigEndian.Uint32(f[4:]) != 2 {
				t.Errorf("answer %x, %v", f, err)
			}
			c.send(key, 3)
			c.expect(key, 3)
		}},
	}
	if len(tests) != int(actions) {
		t.Errorf("%d of %d actions are tested", len(tests), actions)
	}
	for _, tt := range tests {
		t.Run(tt.action.String(), func(t *testing.T) {
			p, s := startProxy(t, Options{Seed: 1})
			c := dial(t, p)
			h := p.Add(Rule{Action: tt.action, Key: key, Every: 2, Delay: 50 * time.Millisecond})
			c.send(7, 9) // another key is no match
			c.expect(7, 9)
			s.expect(t, 9)
			c.send(key, 1)
			c.expect(key, 1)
			s.expect(t, 1)
			c.send(key, 2)
			tt.check(t, c, s)
			if n := p.Faults()[tt.action.String()]; n != 1 || h.Strikes() != 1 {
				t.Errorf("%d faults counted, %d strikes, want 1", n, h.Strikes())
			}
		})
	}
}

func (c *client) expectLength(want int32) {
	c.t.Helper()
	var b [4]byte
	if _, err := io.ReadFull(c, b[:]); err != nil || int32(binary.BigEndian.Uint32(b[:])) != want {
		c.t.Errorf("the answer claims %x bytes, %v; want %d", b, err, want)
	}
}

func TestHoldKeepsOrderAndTime(t *testing.T) {
	p, _ := startProxy(t, Options{})
	c := dial(t, p)
	p.Add(Rule{Action: HoldReply, Key: key, Every: 1, Limit: 1, Delay: 60 * time.Millisecond})
	began := time.Now()
	c.send(key, 1)
	c.send(key, 2)
	c.expect(key, 1)
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("the held answer came after %v", took)
	}
	c.expect(key, 2)
}

func TestStopAndContinue(t *testing.T) {
	p, s := startProxy(t, Options{})
	gone, stays := dial(t, p), dial(t, p)
	gone.send(key, 1)
	gone.expect(key, 1)
	s.expect(t, 1)
	p.Stop(0)
	p.Stop(0)
	gone.send(key, 2)
	gone.expectSilence()
	gone.Close()
	stays.send(key, 3)
	stays.expectSilence()
	p.Continue(0)
	p.Continue(0)
	stays.expect(key, 3)
	first, second := <-s.requests, <-s.requests
	if a, b := first[7], second[7]; a+b != 5 {
		t.Errorf("the broker got requests %d and %d, want 2 and 3", a, b)
	}
	if n := p.Faults()["stop"]; n != 1 {
		t.Errorf("%d stops counted, want 1", n)
	}
}

func TestDownAndUp(t *testing.T) {
	p, _ := startProxy(t, Options{})
	c := dial(t, p)
	c.send(key, 1)
	c.expect(key, 1)
	p.Down(0)
	c.expectEnd()
	dialRefused(t, p)
	p.Up(0)
	c = dial(t, p)
	c.send(key, 1)
	c.expect(key, 1)
}

func TestHeal(t *testing.T) {
	p, _ := startProxy(t, Options{})
	c := dial(t, p)
	p.Add(Rule{Action: Swallow, Key: Any, Every: 1})
	p.Stop(0)
	p.Down(1)
	p.SetLink(Link{Latency: time.Hour})
	c.send(key, 1)
	for p.Faults()["swallow"] == 0 {
		c.expectSilence()
	}
	p.Heal()
	c.expectEnd()
	c = dial(t, p)
	c.send(key, 1)
	c.expect(key, 1)
}

func TestLink(t *testing.T) {
	tests := []struct {
		name  string
		link  Link
		least time.Duration
		most  time.Duration
	}{
		// Ten requests at once wait together, and would for 10 s one after the other.
		{"latency", Link{Latency: 500 * time.Millisecond}, time.Second, 9 * time.Second},
		// 10 x 112 bytes there, 10 x 108 back, the directions side by side.
		{"bandwidth", Link{BytesPerSecond: 10_000}, 100 * time.Millisecond, patience},
		{"slices", Link{Slice: 1}, 0, patience},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := startProxy(t, Options{})
			p.SetLink(tt.link)
			c := dial(t, p)
			began := time.Now()
			for i := range int32(10) {
				c.send(key, i)
			}
			for i := range int32(10) {
				c.expect(key, i)
			}
			if took := time.Since(began); took < tt.least || took > tt.most {
				t.Errorf("it took %v, want %v to %v", took, tt.least, tt.most)
			}
		})
	}
	t.Run("lifetime", func(t *testing.T) {
		p, _ := startProxy(t, Options{})
		p.SetLink(Link{Lifetime: 20 * time.Millisecond})
		dialRefused(t, p)
		if n := p.Faults()["lifetime"]; n != 1 {
			t.Errorf("%d ends counted, want 1", n)
		}
	})
}

// TestSeed strikes the same requests with the same seed.
func TestSeed(t *testing.T) {
	pattern := func(seed uint64) []bool {
		p, _ := startProxy(t, Options{Seed: seed})
		p.Add(Rule{Action: HoldReply, Key: 99, Chance: 1}) // another rule takes none of its numbers
		h := p.Add(Rule{Action: WrongCorrelation, Key: key, Chance: 0.5})
		c := dial(t, p)
		var struck []bool
		for i := range int32(60) {
			before := h.Strikes()
			c.send(key, i)
			if _, err := readFrame(c); err != nil {
				t.Fatal(err)
			}
			struck = append(struck, h.Strikes() > before)
		}
		return struck
	}
	a, b, other := pattern(1), pattern(1), pattern(2)
	if !slices.Equal(a, b) {
		t.Errorf("seed 1 struck\n%v, then\n%v", a, b)
	}
	if slices.Equal(a, other) {
		t.Error("seeds 1 and 2 strike the same requests")
	}
}

func TestRuleLimits(t *testing.T) {
	p, _ := startProxy(t, Options{})
	c := dial(t, p)
	here := p.Add(Rule{Action: Truncate, Key: Any, Chance: 1, Limit: 2})
	elsewhere := p.Add(Rule{Action: Truncate, Key: Any, Every: 1, Brokers: []int{1}})
	removed := p.Add(Rule{Action: Truncate, Key: Any, Every: 1})
	removed.Remove()
	unwanted := p.Add(Rule{Action: CutBeforeRequest, Key: Any, Every: 1, When: func(r Request) bool { return r.Correlation > 100 }})
	for i := range int32(5) {
		c.send(key, i)
		if _, err := readFrame(c); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range []struct {
		name string
		*Handle
		want int
	}{{"limited", here, 2}, {"of another broker", elsewhere, 0}, {"removed", removed, 0}, {"not allowed", unwanted, 0}} {
		if n := h.Strikes(); n != h.want {
			t.Errorf("the rule %q struck %d times, want %d", h.name, n, h.want)
		}
	}
}

func TestExpectsReply(t *testing.T) {
	id := "client"
	for version := int16(0); version <= 11; version++ {
		for _, acks := range []int16{-1, 0, 1} {
			req := kmsg.NewPtrProduceRequest()
			req.SetVersion(version)
			req.Acks = acks
			if version >= 3 {
				req.TransactionID = &id
			}
			frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(id)).AppendRequest(nil, req, 1)
			if got := expectsReply(Request{Key: 0, Version: version, Frame: frame[4:]}); got != (acks != 0) {
				t.Errorf("version %d, acks %d: %v", version, acks, got)
			}
		}
	}
	if !expectsReply(Request{Key: 0, Version: 9, Frame: make([]byte, 8)}) {
		t.Error("a broken request expects no reply")
	}
}

func TestNoBroker(t *testing.T) {
	p, s := startProxy(t, Options{})
	s.Close()
	dialRefused(t, p)
	other, _ := startProxy(t, Options{})
	c := dial(t, other)
	_, err := c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	must(t, err)
	c.expectEnd()
}
