package state

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Remote is a Backend that several hosts share over a network. The ledger's
// calls do not wait for it: Find answers from what this host knows, Remember and
// Release are carried out soon after. What others know is asked for with Claim,
// many ids at once, after a plugin's call and outside of any lock.
type Remote interface {
	Durable
	// Claim asks for the ids, in one round trip, and writes the answers into
	// asks: New (this host has them from now on, until it remembers or releases
	// them), Confirmed, or Pending: a record in flight on another host has it.
	// The error wraps ErrUnavailable where the backend does not answer.
	Claim(ctx context.Context, asks []RemoteAsk) error
	// Release gives back what Claim answered New. One that it has not, or that
	// was remembered since, is left alone.
	Release(id ID)
}

// RemoteAsk is one question of a Remote, and its answer.
type RemoteAsk struct {
	ID    ID
	TTLMS int64
	NowMS int64

	Code   int32
	At     Position // of Confirmed
	Holder string   // of Pending
}

// ErrPendingElsewhere: a record in flight on another host has the id, and had
// it for longer than this one waits. Whether that one will be written is not
// known, so this one is neither dropped nor sent. Send it again.
var ErrPendingElsewhere = errors.New("id is in flight on another host")

// pendingPatience is how long a record waits for one on another host; between
// the questions it waits longer each time.
const (
	pendingPatience = time.Second
	pendingFirst    = 5 * time.Millisecond
	pendingMost     = 100 * time.Millisecond
)

// Ask is a claim to be asked of the other hosts.
type Ask struct {
	Topic string
	ID    []byte
	TTL   time.Duration
	NowMS int64 // the ClockMS of the record

	Code int32
	At   Position
}

// Shared reports whether other hosts share the state, so that fresh claims must
// be asked of them. A nil Space is not shared.
func (s *Space) Shared() bool { return s != nil && s.remote != nil }

// Ask asks the other hosts for ids that this host's records claimed, in one
// round trip, and again for those that are pending there, for a second at
// most. Codes are New, Confirmed or, where that was not enough, Pending. While
// the backend is unavailable, the error says so; with on_unavailable = "pass" all
// are New instead.
func (s *Space) Ask(ctx context.Context, asks []Ask) error {
	return s.askFor(ctx, asks, pendingPatience)
}

// AskOnce is Ask that does not wait for what is pending.
func (s *Space) AskOnce(ctx context.Context, asks []Ask) error { return s.askFor(ctx, asks, 0) }

func (s *Space) askFor(ctx context.Context, asks []Ask, patience time.Duration) error {
	all := make([]RemoteAsk, len(asks))
	for i := range asks {
		a := &asks[i]
		all[i] = RemoteAsk{ID: s.scopes.id(a.Topic, a.ID), TTLMS: ttlMS(a.TTL), NowMS: a.NowMS}
	}
	err := s.askUntil(ctx, all, patience)
	if err != nil {
		return s.unasked(asks, err)
	}
	hits := uint64(0)
	for i := range all {
		asks[i].Code, asks[i].At = all[i].Code, all[i].At
		if all[i].Code == Confirmed {
			hits++
		}
	}
	s.l.mu.Lock()
	s.hits += hits
	s.l.mu.Unlock()
	return nil
}

func (s *Space) askUntil(ctx context.Context, asks []RemoteAsk, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	open := make([]*RemoteAsk, len(asks))
	for i := range asks {
		open[i] = &asks[i]
	}
	for pause := pendingFirst; ; pause = min(2*pause, pendingMost) {
		if err := s.askOnce(ctx, &open); err != nil || len(open) == 0 || !time.Now().Before(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// askOnce asks for what is open and leaves what is pending.
func (s *Space) askOnce(ctx context.Context, open *[]*RemoteAsk) error {
	asks := make([]RemoteAsk, len(*open))
	for i, a := range *open {
		asks[i] = *a
	}
	if err := s.remote.Claim(ctx, asks); err != nil {
		return err
	}
	pending := (*open)[:0:0]
	for i, a := range *open {
		if *a = asks[i]; a.Code == Pending {
			pending = append(pending, a)
		}
	}
	*open = pending
	return nil
}

// unasked is the end of a question without an answer.
func (s *Space) unasked(asks []Ask, err error) error {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.errors++
	if !s.pass || !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("state %q: %w", s.state, err)
	}
	s.bypassed += uint64(len(asks))
	for i := range asks {
		asks[i].Code = New
	}
	return nil
}

// Keep is Undo for a record that is judged again at once: the other hosts are
// not told. Disown tells them, should it not claim the id again.
func (s *Space) Keep(owner Ref, topic string, id []byte) { s.undo(owner, topic, id, true) }

// Disown gives an id back that was asked for and that no record has now.
func (s *Space) Disown(topic string, id []byte) {
	key := s.scopes.id(topic, id)
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if s.ids.claimed(&key) == 0 {
		s.remote.Release(key)
	}
}
