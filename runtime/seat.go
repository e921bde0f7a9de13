package runtime

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/klamm-io/klamm/sdk/abi"
)

// SeatConfig says whose place at a plugin it is.
type SeatConfig struct {
	Chain  string
	Topics []string
	// Lane counts from 0 to Lanes-1.
	Lane, Lanes int
	Host        Host
}

// Seat is a lane's place at a plugin: it owns one instance of one generation.
// Its methods take the seat's own lock, so that on_send and on_acknowledgement
// may come from different goroutines. The Host must not call the seat.
type Seat struct {
	p    *Plugin
	at   place
	next atomic.Pointer[seated] // of a new generation, until the seat moves to it

	mu       sync.Mutex // held during calls; taken after none
	cur      seated
	verdicts Verdicts
	outdated bool // it was moved on, and nobody has asked for the generation since
	closed   bool
}

// Seat opens a place at the plugin, which must have an active generation.
func (p *Plugin) Seat(ctx context.Context, cfg SeatConfig) (*Seat, error) {
	s := &Seat{p: p, at: place{
		chain: cfg.Chain, topics: cfg.Topics, lane: cfg.Lane, lanes: cfg.Lanes, host: cfg.Host, secrets: p.secrets,
	}}
	s.verdicts.secrets = p.secrets
	for {
		g, err := p.retainActive()
		if err != nil {
			return nil, fmt.Errorf("plugin %q: %w", p.cfg.Name, err)
		}
		in, err := p.instanceFor(g, s.at)
		if err != nil {
			_ = g.release(ctx) // the error that matters is the other one
			return nil, &LoadError{Name: p.cfg.Name, Problems: []string{p.unnamed(err)}}
		}
		s.cur = seated{g, in}
		if p.admit(s) {
			return s, nil
		}
		s.cur.close() // another generation became active meanwhile
	}
}

func (p *Plugin) retainActive() (*Generation, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.active.Load()
	switch {
	case p.closed:
		return nil, ErrClosed
	case g == nil:
		return nil, ErrNotLoaded
	}
	g.retain()
	return g, nil
}

// admit enters the seat if its generation is still the active one.
func (p *Plugin) admit(s *Seat) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.active.Load() != s.cur.gen {
		return false
	}
	p.seats[s] = struct{}{}
	return true
}

// Generation returns the generation that the next call uses, and moves the seat
// to it. Build the block for its Fields.
func (s *Seat) Generation() *Generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.move(anyGeneration)
	}
	s.outdated = false
	return s.cur.gen
}

// move takes the seat to the newest generation, if fits says so. A block that
// was built before may lack what the new one asks for: then the call still goes
// to the old one, and the seat moves with the next Generation.
func (s *Seat) move(fits func(*Generation) bool) {
	n := s.next.Load()
	if n == nil || !fits(n.gen) || !s.next.CompareAndSwap(n, nil) {
		return
	}
	old := s.cur
	s.cur = *n
	s.p.retire(old)
}

func anyGeneration(*Generation) bool { return true }

// moveOn waits for the running call and moves the seat whatever the new
// generation asks for. A block that was built before is refused then.
func (s *Seat) moveOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.next.Load() == nil {
		return
	}
	s.move(anyGeneration)
	s.outdated = true
}

// moveIfIdle waits for the running call and moves the seat, so that a seat that
// is not called does not keep the old generation.
func (s *Seat) moveIfIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.move(func(g *Generation) bool { return g.asksNoMoreThan(s.cur.gen) })
	}
}

// Judge calls on_send, on_consume or partition with the block and returns one
// checked verdict for each record. They are valid until the seat's next Judge. A
// plugin without the hook passes everything.
//
// ctx is looked at before the call only: the call itself is bounded by the
// plugin's timeout. ErrOutdated wants another block.
func (s *Seat) Judge(ctx context.Context, h abi.Hook, b *Block) (*Verdicts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in, err := s.enter(ctx, h, b)
	if err != nil {
		return nil, err
	}
	if in == nil {
		s.verdicts.by = nil
		s.verdicts.passAll(b.Len())
		return &s.verdicts, nil
	}
	s.verdicts.by = s.cur.gen
	err = in.judge(h, b, &s.verdicts)
	s.leave(b, err)
	if err != nil {
		return nil, err
	}
	return &s.verdicts, nil
}

// Notify calls on_acknowledgement or on_commit with the block. Without the hook
// it does nothing.
func (s *Seat) Notify(ctx context.Context, h abi.Hook, b *Block) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	in, err := s.enter(ctx, h, b)
	if in == nil {
		return err
	}
	err = in.notify(h, b)
	s.leave(b, err)
	return err
}

// enter returns the instance to call, nil when there is nothing to call.
func (s *Seat) enter(ctx context.Context, h abi.Hook, b *Block) (*instance, error) {
	if s.closed {
		return nil, fmt.Errorf("plugin %q: %w", s.p.cfg.Name, ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("plugin %q: call %s: %w", s.p.cfg.Name, h.Export(), err)
	}
	if s.next.Load() != nil {
		s.move(func(g *Generation) bool { return g.Fields(h)&^b.fields == 0 })
	}
	if s.outdated && s.cur.gen.Fields(h)&^b.fields != 0 {
		return nil, fmt.Errorf("plugin %q: call %s: %w", s.p.cfg.Name, h.Export(), ErrOutdated)
	}
	if !s.cur.gen.Hooks.Has(h) || b.Len() == 0 {
		return nil, nil
	}
	if !s.p.breaker.allow() {
		return nil, fmt.Errorf("plugin %q: %w", s.p.cfg.Name, ErrBreakerOpen)
	}
	if s.cur.in == nil {
		in, err := s.p.instanceFor(s.cur.gen, s.at)
		if err != nil {
			s.p.breaker.done(true, !b.Retry)
			return nil, &LoadError{Name: s.p.cfg.Name, Problems: []string{"make the instance anew: " + s.p.unnamed(err)}}
		}
		s.cur.in = in
	}
	return s.cur.in, nil
}

// leave restores an instance that is dead, or drops it; then the next call makes
// it anew.
func (s *Seat) leave(b *Block, err error) {
	s.p.breaker.done(err != nil, !b.Retry)
	switch in := s.cur.in; {
	case !in.dead:
	case in.restore():
		s.p.restored.Add(1)
	default:
		in.close()
		s.cur.in = nil
		s.p.remade.Add(1)
	}
}

// Close calls klamm_close and releases the instance. It may be called twice.
func (s *Seat) Close(ctx context.Context) error {
	s.p.mu.Lock()
	delete(s.p.seats, s)
	s.p.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.cur.close()
	s.cur.in = nil
	if n := s.next.Swap(nil); n != nil {
		n.close()
	}
	return nil
}
