package interceptor

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// seat is what a lane needs of runtime.Seat.
type seat interface {
	generation() *generation
	judge(ctx context.Context, h abi.Hook, b *runtime.Block) (verdicts, error)
	notify(ctx context.Context, h abi.Hook, b *runtime.Block) error
	close(ctx context.Context) error
}

type verdicts interface {
	Len() int
	Words() []abi.Verdict
	At(i int) runtime.Verdict
	// generation is the one that was called, nil when none was.
	generation() *generation
}

// generation is what a lane needs to know of a runtime.Generation.
type generation struct {
	source  *runtime.Generation
	number  int
	digest  string
	version string
	hooks   abi.HookMask
	fields  [abi.HookCount]abi.Fields
	reason  func(code uint16) string
	why     struct { // what reasonOf was asked last
		code uint16
		name string
	}
}

// reasonOf is reason, which nearly always is asked about the one of before. It
// is for the lane that judges.
func (g *generation) reasonOf(code uint16) string {
	if w := &g.why; w.name == "" || w.code != code {
		w.code, w.name = code, g.reason(code)
	}
	return g.why.name
}

// guest is a lane's instance of a plugin and the host's side of it. Its lock is
// held over a call and what is done with its answer, so that the host functions
// know whose call they serve.
type guest struct {
	name string
	mu   sync.Mutex
	seat seat
	host *guestHost
	// judged counts the calls that have verdicts: those of one are there until the
	// next.
	judged uint64
}

func (g *guest) close(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.seat.close(ctx)
	g.host.flushLog()
	return err
}

func openSeat(ctx context.Context, link *Link, cfg runtime.SeatConfig) (seat, error) {
	if link.open != nil {
		return link.open(ctx, cfg)
	}
	s, err := link.Plugin.Seat(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &runtimeSeat{seat: s}, nil
}

// runtimeSeat adapts a runtime.Seat.
type runtimeSeat struct {
	seat   *runtime.Seat
	gen    atomic.Pointer[generation]
	judged seatVerdicts // of the last judge
}

func (s *runtimeSeat) generation() *generation {
	src := s.seat.Generation()
	if src == nil {
		return nil
	}
	return s.known(src)
}

// known returns the same value for the same generation.
func (s *runtimeSeat) known(src *runtime.Generation) *generation {
	if g := s.gen.Load(); g != nil && g.source == src {
		return g
	}
	g := newGeneration(src)
	s.gen.Store(g)
	return g
}

func newGeneration(src *runtime.Generation) *generation {
	g := &generation{source: src, number: src.Number, digest: src.Digest, hooks: src.Hooks, reason: src.Reason}
	for h := range g.fields {
		g.fields[h] = src.Fields(abi.Hook(h))
	}
	if src.Module != nil {
		g.version = src.Module.Manifest().Version
	}
	return g
}

func (s *runtimeSeat) judge(ctx context.Context, h abi.Hook, b *runtime.Block) (verdicts, error) {
	v, err := s.seat.Judge(ctx, h, b)
	if err != nil {
		return nil, err
	}
	s.judged.Verdicts, s.judged.by = v, nil
	if src := v.Generation(); src != nil {
		s.judged.by = s.known(src)
	}
	return &s.judged, nil
}

// seatVerdicts are what a runtime.Seat answered.
type seatVerdicts struct {
	*runtime.Verdicts
	by *generation
}

func (v *seatVerdicts) generation() *generation { return v.by }

func (s *runtimeSeat) notify(ctx context.Context, h abi.Hook, b *runtime.Block) error {
	return s.seat.Notify(ctx, h, b)
}

func (s *runtimeSeat) close(ctx context.Context) error { return s.seat.Close(ctx) }
