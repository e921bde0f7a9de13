package faultproxy

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Action is what happens to a frame, or from it on.
type Action uint8

const (
	// CutBeforeRequest resets the connection instead of passing the request on:
	// the broker never sees it.
	CutBeforeRequest Action = iota
	// CutInRequest passes on a part of the request, then resets both sides.
	CutInRequest
	// CutAfterRequest passes the request on and resets the client's side at
	// once: the broker handles it, and no reply comes.
	CutAfterRequest
	// CutBeforeReply waits for the reply, so that the request has certainly been
	// handled, and resets the client's side instead of passing it on.
	CutBeforeReply
	// CutInReply passes on a part of the reply, then resets.
	CutInReply
	// CutAfterReply passes the reply on, then resets.
	CutAfterReply

	// HoldRequest keeps the request, and those behind it, back for Delay. They
	// reach the broker even when the client has gone meanwhile, as from the
	// queue of a broker that was stopped.
	HoldRequest
	// HoldReply keeps the reply, and those behind it, back for Delay.
	HoldReply

	// SwallowRequests and SwallowReplies drop the frame and all that follow it
	// in that direction; the connection stays open. Swallow does both.
	SwallowRequests
	SwallowReplies
	Swallow

	// WrongCorrelation gives the reply another correlation id.
	WrongCorrelation
	// OversizedLength has the reply claim 2 GiB - 1, NegativeLength -5 bytes.
	OversizedLength
	NegativeLength
	// Garbage overwrites the reply's body with random bytes.
	Garbage
	// Truncate cuts the reply's body and makes its length agree.
	Truncate

	actions
)

var actionNames = [actions]string{
	"cut_before_request", "cut_in_request", "cut_after_request", "cut_before_reply", "cut_in_reply", "cut_after_reply",
	"hold_request", "hold_reply", "swallow_requests", "swallow_replies", "swallow",
	"wrong_correlation", "oversized_length", "negative_length", "garbage", "truncate",
}

func (a Action) String() string {
	if a < actions {
		return actionNames[a]
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// ofRequest reports whether the action strikes when the request comes, not when
// its reply does.
func (a Action) ofRequest() bool {
	switch a {
	case CutBeforeRequest, CutInRequest, CutAfterRequest, HoldRequest, SwallowRequests, Swallow:
		return true
	}
	return false
}

// Any is the Key of a rule for all requests.
const Any int16 = -1

// Rule says which frames are struck.
type Rule struct {
	Action Action
	// Key is the API key of the request, or of the reply's request: 0 for
	// Produce. Any stands for all.
	Key int16
	// Every strikes each n-th match at a broker. 0: Chance decides.
	Every int
	// Chance strikes a match with this probability.
	Chance float64
	// Limit ends the rule after so many strikes in all. 0: none.
	Limit int
	// Brokers are those whose connections are struck, by their place in the list
	// that the proxy stands before. nil: all.
	Brokers []int
	// When, if set, must allow the strike of a request; it must not wait. It is
	// not asked for replies.
	When func(Request) bool
	// Delay is how long frames are held. Default 1s.
	Delay time.Duration
}

// Request is a request frame as it passes.
type Request struct {
	Broker      int
	Key         int16
	Version     int16
	Correlation int32
	// Frame is the whole frame behind its length. It must not be kept.
	Frame []byte
}

// Handle is a rule at work.
type Handle struct {
	rule  Rule
	index int
	proxy *Proxy

	mu      sync.Mutex
	rands   map[int]*rand.Rand
	matched map[int]int
	struck  int
	removed bool
}

// Strikes returns how many frames the rule has struck.
func (h *Handle) Strikes() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.struck
}

// Remove ends the rule. What it has begun goes on.
func (h *Handle) Remove() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removed = true
}

// strikes decides on one match.
func (h *Handle) strikes(broker int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.removed || h.rule.Limit > 0 && h.struck >= h.rule.Limit {
		return false
	}
	h.matched[broker]++
	if n := h.rule.Every; n > 0 {
		if h.matched[broker]%n != 0 {
			return false
		}
	} else if h.rand(broker).Float64() >= h.rule.Chance {
		return false
	}
	h.struck++
	return true
}

// rand returns the numbers for one broker. h.mu is held.
func (h *Handle) rand(broker int) *rand.Rand {
	r := h.rands[broker]
	if r == nil {
		r = rand.New(rand.NewPCG(h.proxy.seed, uint64(h.index)<<32|uint64(broker)))
		h.rands[broker] = r
	}
	return r
}

// roll returns a number from 0 to n-1 for a strike that has happened.
func (h *Handle) roll(broker, n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rand(broker).IntN(max(n, 1))
}

func (r *Rule) matches(broker int, key int16) bool {
	if r.Key != Any && r.Key != key {
		return false
	}
	for _, b := range r.Brokers {
		if b == broker {
			return true
		}
	}
	return r.Brokers == nil
}

func (r *Rule) delay() time.Duration {
	if r.Delay > 0 {
		return r.Delay
	}
	return time.Second
}
