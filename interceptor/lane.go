package interceptor

import (
	"context"
	"errors"
	"sync"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// Lane is one place where the records of a chain are judged. It owns one
// instance of each of the chain's plugins.
//
// OnSend and OnConsume share the lane's scratch: one of them, on one goroutine,
// at a time. OnAcknowledgement and OnCommit may run meanwhile on other
// goroutines; a plugin that stands in both lists is called by one at a time.
type Lane struct {
	chain       *Chain
	lane, lanes int
	places      [abi.HookCount][]*place
	guests      map[string]*guest // by plugin name
	run         run
	names       map[string]string // topics and header keys that plugins wrote

	notices [2]notices // on_acknowledgement, on_commit
	closing sync.Once
	closed  error
}

// place is a link's place in the list of one hook.
type place struct {
	link  *Link
	hook  abi.Hook
	index int
	guest *guest // nil for native links
	// limit is how many records a block has at most. It is halved while a call
	// takes more than a quarter of the deadline.
	limit  int
	faults limiter // of log lines
	// sender is the link's index in the on_send list, -1 when it is not there.
	sender int
}

func (l *Lane) place(ctx context.Context, hook abi.Hook, index int, link *Link) (*place, error) {
	p := &place{link: link, hook: hook, index: index, limit: abi.BatchMax, faults: newLimiter(0), sender: -1}
	for i := range l.chain.cfg.OnSend {
		if l.chain.cfg.OnSend[i].Name == link.Name {
			p.sender = i
		}
	}
	if link.Native != nil {
		return p, nil
	}
	var err error
	p.guest, err = l.guest(ctx, link)
	return p, err
}

// guest returns the lane's instance of a plugin, opening it the first time.
func (l *Lane) guest(ctx context.Context, link *Link) (*guest, error) {
	if g := l.guests[link.Name]; g != nil {
		return g, nil
	}
	host := newGuestHost(l, link)
	cfg := runtime.SeatConfig{Chain: l.chain.cfg.Name, Topics: l.chain.cfg.Topics, Lane: l.lane, Lanes: l.lanes, Host: host}
	seat, err := openSeat(ctx, link, cfg)
	if err != nil {
		return nil, err
	}
	g := &guest{name: link.Name, seat: seat, host: host}
	l.guests[link.Name] = g
	return g, nil
}

// OnSend judges the batch's records in list order. It never fails as a whole:
// every item passes or has an outcome afterwards.
func (l *Lane) OnSend(ctx context.Context, b *Batch) {
	l.run.judge(ctx, abi.OnSend, b)
}

// OnConsume judges records that were read, as OnSend does.
func (l *Lane) OnConsume(ctx context.Context, b *Batch) {
	l.run.judge(ctx, abi.OnConsume, b)
}

// Wants returns what the links of hook h ask to see, and whether any link has
// the hook. It follows the plugins' active generations. It is safe for
// concurrent use.
func (l *Lane) Wants(h abi.Hook) (fields abi.Fields, ok bool) {
	if int(h) >= len(l.places) {
		return 0, false
	}
	for _, p := range l.places[h] {
		if !p.has(h) {
			continue
		}
		ok = true
		if p.guest == nil {
			fields |= abi.FieldKey | abi.FieldValue | abi.FieldHeaders | abi.FieldTimestamp
		} else if gen := p.guest.seat.generation(); gen != nil {
			fields |= gen.fields[h]
		}
	}
	return fields, ok
}

// has reports whether the link has hook h now.
func (p *place) has(h abi.Hook) bool {
	if p.guest != nil {
		gen := p.guest.seat.generation()
		return gen != nil && gen.hooks.Has(h)
	}
	var ok bool
	switch h {
	case abi.OnSend:
		_, ok = p.link.Native.(OnSender)
	case abi.OnAcknowledgement:
		_, ok = p.link.Native.(OnAcknowledger)
	case abi.OnConsume:
		_, ok = p.link.Native.(OnConsumer)
	case abi.OnCommit:
		_, ok = p.link.Native.(OnCommitter)
	}
	return ok
}

// Close closes the lane's instances. It must not run beside another call of
// the lane; further calls of it do nothing.
func (l *Lane) Close(ctx context.Context) error {
	l.closing.Do(func() {
		var errs []error
		for _, g := range l.guests {
			errs = append(errs, g.close(ctx))
		}
		l.closed = errors.Join(errs...)
	})
	return l.closed
}

const (
	internMax    = 1024
	internMaxLen = 256
)

// intern returns the string of b without allocating for those that come often.
// It is used by the lane's judging goroutine only.
func (l *Lane) intern(b []byte) string {
	if s, ok := l.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(l.names) < internMax && len(s) <= internMaxLen {
		l.names[s] = s
	}
	return s
}

// errorOf is the error of a record that a plugin failed.
func (p *place) errorOf(err error) error {
	return &klamm.PluginError{Plugin: p.link.Name, Hook: p.hook.String(), Err: err}
}
