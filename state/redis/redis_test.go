package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
	"github.com/klamm-io/klamm/state/backendtest"
)

const minute = time.Minute

func TestBackend(t *testing.T) {
	m := miniredis.RunT(t)
	backendtest.Run(t, backendtest.Kit{Open: func(dir string, maxEntries int, maxBytes int64) (state.Backend, error) {
		return New(context.Background(), Options{
			Address: "redis://" + m.Addr(), Name: filepath.Base(dir), MaxEntries: maxEntries, MaxBytes: maxBytes, Timeout: minute, Lease: time.Hour,
		})
	}})
}

// peer is one host that shares the state.
type peer struct {
	t      testing.TB
	b      *backend
	ledger *state.Ledger
	space  *state.Space
}

func join(t testing.TB, address, host string, pass bool) *peer {
	t.Helper()
	b, err := New(context.Background(), Options{Address: address, Name: "ids", Scope: "state", Host: host, Timeout: minute, Lease: 10 * minute})
	if err != nil {
		t.Fatal(err)
	}
	l := state.NewLedger(state.Options{})
	if err := l.OpenBackend("ids", b, state.StoreConfig{Pass: pass}); err != nil {
		t.Fatal(err)
	}
	s, err := l.Space("ids", "dedup", state.SpaceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, b: b.(*backend), ledger: l, space: s}
	t.Cleanup(func() { _ = l.Close() }) // a Redis that is gone is part of some tests
	return p
}

// claim does for one record what a chain does: it claims here, then asks the
// others.
func (p *peer) claim(ref state.Ref, id string) (int32, state.Position, error) {
	a := p.space.Claim(ref, "orders", []byte(id), time.Hour, 1)
	if a.Wait != nil {
		a.Wait.Cancel()
	}
	if !a.Fresh {
		return a.Code, a.At, nil
	}
	asks := []state.Ask{{Topic: "orders", ID: []byte(id), TTL: time.Hour, NowMS: 1}}
	err := p.space.Ask(context.Background(), asks)
	if err != nil || asks[0].Code != state.New {
		p.space.Undo(ref, "orders", []byte(id))
	}
	return asks[0].Code, asks[0].At, err
}

func (p *peer) want(ref state.Ref, id string, want int32) state.Position {
	p.t.Helper()
	code, at, err := p.claim(ref, id)
	if err != nil || code != want {
		p.t.Fatalf("claim %q: got %d, %v, want %d", id, code, err, want)
	}
	return at
}

func (p *peer) settle(ref state.Ref, o klamm.Outcome, at state.Position) {
	p.t.Helper()
	s := state.Settlement{Outcome: o, At: at, NowMS: 1}
	if o == klamm.Failed {
		s.Err = errors.New("refused")
	}
	p.ledger.Settle(ref, s)
	if err := p.b.Flush(minute); err != nil {
		p.t.Fatal(err)
	}
}

func TestHostsShareIDs(t *testing.T) {
	m := miniredis.RunT(t)
	a, b := join(t, "redis://"+m.Addr(), "a", false), join(t, "redis://"+m.Addr(), "b", false)
	at := state.Position{Topic: "orders", Partition: 3, Offset: 44}
	a.want(1, "x", state.New)
	a.want(1, "x", state.New)     // its own
	b.want(1, "x", state.Pending) // after a while of asking
	a.settle(1, klamm.Written, at)
	if got := b.want(2, "x", state.Confirmed); got != at {
		t.Errorf("got %v, want %v", got, at)
	}
	a.want(2, "y", state.New)
	a.settle(2, klamm.Failed, state.Position{})
	b.want(3, "y", state.New)
	b.settle(3, klamm.Written, at)
	a.want(4, "y", state.Confirmed)
	m.FastForward(2 * time.Hour) // beyond the window
	c := join(t, "redis://"+m.Addr(), "c", false)
	c.want(5, "y", state.New)
}

// A claim that came late gives nothing back that is another one's.
func TestLateRelease(t *testing.T) {
	m := miniredis.RunT(t)
	a, b := join(t, "redis://"+m.Addr(), "a", false), join(t, "redis://"+m.Addr(), "b", false)
	a.want(1, "x", state.New)
	old := op{id: idOf(a, "x"), token: a.b.held[idOf(a, "x")].token}
	a.settle(1, klamm.Failed, state.Position{})
	a.want(2, "x", state.New)
	a.b.out.put(old)
	if err := a.b.Flush(minute); err != nil {
		t.Fatal(err)
	}
	b.want(3, "x", state.Pending)
}

func idOf(p *peer, id string) state.ID {
	for key := range p.b.held {
		return key // the only one
	}
	p.t.Fatalf("no claim is held, of %q or another", id)
	return state.ID{}
}

func TestHostIsGone(t *testing.T) {
	m := miniredis.RunT(t)
	a, b := join(t, "redis://"+m.Addr(), "a", false), join(t, "redis://"+m.Addr(), "b", false)
	a.want(1, "x", state.New)
	m.FastForward(11 * minute) // a's lease, which nobody renews
	b.want(1, "x", state.New)
	b.settle(1, klamm.Written, state.Position{Topic: "orders", Offset: 7})
	a.settle(1, klamm.Written, state.Position{Topic: "orders", Offset: 8}) // it was only slow
	if got := a.b.Health().Lapsed; got != 1 {
		t.Errorf("%d claims lapsed, want 1: this record was doubled", got)
	}
	if got := b.want(2, "x", state.Confirmed); got.Offset != 7 {
		t.Errorf("got %v, want the one that was confirmed first", got)
	}
}

// A process that starts with the id of one that died need not wait for its lease,
// and the old one, should it still be there, is fenced.
func TestHostRestarts(t *testing.T) {
	m := miniredis.RunT(t)
	old := join(t, "redis://"+m.Addr(), "a", false)
	old.want(1, "x", state.New)
	again := join(t, "redis://"+m.Addr(), "a", false)
	again.want(1, "x", state.New)
	if err := old.b.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := old.claim(2, "z"); !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), `host "a"`) {
		t.Errorf("the old process: got %v", err)
	}
	again.want(2, "z", state.New)
}

func TestRedisWithoutAnswer(t *testing.T) {
	for name, text := range map[string]string{
		"out of memory": "OOM command not allowed when used memory > 'maxmemory'.",
		"loading":       "LOADING Redis is loading the dataset in memory",
		"read-only":     "READONLY You can't write against a read only replica.",
	} {
		t.Run(name, func(t *testing.T) {
			m := miniredis.RunT(t)
			strict, lax := join(t, "redis://"+m.Addr(), "a", false), join(t, "redis://"+m.Addr(), "b", true)
			m.SetError(text)
			for ref := range state.Ref(5) {
				_, _, err := strict.claim(ref+1, fmt.Sprint("x", ref))
				if !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), text) {
					t.Fatalf("got %v", err)
				}
			}
			lax.want(1, "y", state.New)
			if got := lax.ledger.Stats()[0].Bypassed; got != 1 {
				t.Errorf("%d bypassed", got)
			}
			if h := strict.b.Health(); h.Err == nil || h.Failures == 0 {
				t.Errorf("got %+v", h)
			}
			m.SetError("")
			strict.b.note(nil) // as the next renewal finds
			strict.want(9, "z", state.New)
		})
	}
}

// A breaker that is open asks nobody.
func TestBreaker(t *testing.T) {
	m := miniredis.RunT(t)
	p := join(t, "redis://"+m.Addr(), "a", false)
	trips := &tripCount{}
	p.b.rdb.AddHook(trips)
	at := time.UnixMilli(1)
	p.b.mu.Lock()
	p.b.now = func() time.Time { return at }
	p.b.mu.Unlock()
	p.b.out.mu.Lock()
	p.b.out.limit = 0 // nothing is given back: that would count too
	p.b.out.mu.Unlock()
	m.SetError("ERR down")
	ask := func(want int) {
		t.Helper()
		for ref := range state.Ref(20) {
			if _, _, err := p.claim(ref+1, fmt.Sprint(ref)); !errors.Is(err, state.ErrUnavailable) {
				t.Fatal(err)
			}
		}
		if n := trips.claims(); n != want {
			t.Errorf("asked %d times, want %d", n, want)
		}
	}
	ask(breakerFailures)
	at = at.Add(breakerCooldown - 1)
	ask(breakerFailures)
	at = at.Add(1)
	ask(breakerFailures + 1)
}

// What the backlog has no room for is counted, told and logged once, and so is
// that it has room again.
func TestBacklogIsFull(t *testing.T) {
	m := miniredis.RunT(t)
	p := join(t, "redis://"+m.Addr(), "a", false)
	var log strings.Builder
	p.b.o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	for ref := range state.Ref(8) {
		p.want(ref+1, fmt.Sprint(ref), state.New)
	}
	p.b.out.mu.Lock()
	p.b.out.limit = 3
	p.b.out.mu.Unlock()
	m.SetError("ERR down")
	for ref := range state.Ref(8) {
		p.ledger.Settle(ref+1, state.Settlement{Outcome: klamm.Written, NowMS: 1})
	}
	if h := p.b.Health(); h.Forgotten != 5 || h.Behind != 3 || h.Err == nil {
		t.Errorf("got %+v", h)
	}
	m.SetError("")
	err := p.b.Flush(minute)
	for ; err != nil && !strings.Contains(err.Error(), "5 operations were forgotten"); err = p.b.Flush(minute) {
		if !strings.Contains(err.Error(), "ERR down") { // it was asked before
			t.Fatal(err)
		}
	}
	if err == nil {
		t.Error("Flush does not tell that operations were forgotten")
	}
	if err := p.b.Flush(minute); err != nil {
		t.Error(err)
	}
	if h := p.b.Health(); h.Forgotten != 5 || h.Behind != 0 {
		t.Errorf("got %+v", h)
	}
	if err := p.b.Close(); err != nil { // before its log is read
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "backlog is full"); n != 1 {
		t.Errorf("logged %d times: %s", n, log.String())
	}
}

// A failed send is told by the Flush that waits for it, though an answer to
// another question came meanwhile.
func TestFlushTellsOfAFailedSend(t *testing.T) {
	b := &backend{now: time.Now} // without who sends
	b.o.defaults()
	b.out.init()
	b.out.put(op{})
	flushed := make(chan error)
	go func() { flushed <- b.Flush(minute) }()
	down := errors.New("down")
	for {
		b.note(down)
		b.out.done(1, down)
		b.note(nil) // another question was answered
		select {
		case err := <-flushed:
			if !errors.Is(err, down) {
				t.Errorf("got %v", err)
			}
			return
		default: // Flush does not wait yet
			goruntime.Gosched()
		}
	}
}

// tripCount counts pipelines that claim.
type tripCount struct {
	mu sync.Mutex
	n  int
}

func (c *tripCount) claims() int { c.mu.Lock(); defer c.mu.Unlock(); return c.n }

func (c *tripCount) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (c *tripCount) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (c *tripCount) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) > 0 && len(cmds[0].Args()) > 1 && cmds[0].Args()[1] == claimScript.Hash() {
			c.mu.Lock()
			c.n++
			c.mu.Unlock()
		}
		return next(ctx, cmds)
	}
}

func TestOneRoundTripABatch(t *testing.T) {
	m := miniredis.RunT(t)
	p := join(t, "redis://"+m.Addr(), "a", false)
	trips := &tripCount{}
	p.b.rdb.AddHook(trips)
	asks := make([]state.Ask, 256)
	for i := range asks {
		asks[i] = state.Ask{Topic: "orders", ID: fmt.Append(nil, i), NowMS: 1}
		p.space.Claim(state.Ref(i+1), "orders", asks[i].ID, 0, 1)
	}
	if err := p.space.Ask(t.Context(), asks); err != nil {
		t.Fatal(err)
	}
	if n := trips.claims(); n != 1 {
		t.Errorf("%d round trips for %d ids", n, len(asks))
	}
}

// A Redis that was restarted has forgotten the scripts.
func TestScriptsAreLoadedAgain(t *testing.T) {
	m := miniredis.RunT(t)
	p := join(t, "redis://"+m.Addr(), "a", false)
	if err := p.b.rdb.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	p.want(1, "x", state.New)
}

// What another program wrote under our keys is never taken for a record.
func TestRubbish(t *testing.T) {
	for _, rubbish := range []string{"", "1", "c|", "c|0|x|1|orders", "p|a", "c|0|99999999999999999999|1|orders"} {
		m := miniredis.RunT(t)
		p := join(t, "redis://"+m.Addr(), "a", false)
		p.want(1, "x", state.New)
		key := p.b.idKey(idOf(p, "x"))
		p.settle(1, klamm.Failed, state.Position{})
		if err := m.Set(key, rubbish); err != nil {
			t.Fatal(err)
		}
		if code, _, err := p.claim(2, "x"); err == nil {
			t.Errorf("%q: got %d", rubbish, code)
		}
	}
}

// A Redis that was emptied, and filled by a host that began anew, has other
// hashes: the old hosts stop using it.
func TestEmptied(t *testing.T) {
	m := miniredis.RunT(t)
	old := join(t, "redis://"+m.Addr(), "a", false)
	m.FlushAll()
	if err := old.b.renew(t.Context()); err != nil { // puts its key back
		t.Fatal(err)
	}
	same := join(t, "redis://"+m.Addr(), "b", false)
	old.want(1, "x", state.New)
	same.want(1, "x", state.Pending)
	m.FlushAll()
	join(t, "redis://"+m.Addr(), "c", false)
	if err := old.b.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := old.claim(2, "y"); err == nil || !strings.Contains(err.Error(), "emptied") {
		t.Errorf("got %v", err)
	}
}

func TestRefused(t *testing.T) {
	m := miniredis.RunT(t)
	join(t, "redis://"+m.Addr(), "a", false)
	for address, want := range map[string]string{
		"http://secret@" + m.Addr(): "address", "redis://127.0.0.1:1": "127.0.0.1:1",
	} {
		_, err := New(t.Context(), Options{Address: address, Name: "ids", Scope: "state"})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", address, err)
		}
	}
	_, err := New(t.Context(), Options{Address: "redis://" + m.Addr(), Name: "ids", Scope: "topic"})
	if err == nil || !strings.Contains(err.Error(), `scope = "state", not "topic"`) {
		t.Errorf("another scope: got %v", err)
	}
}

// Hosts that judge the same ids side by side, with sends that fail at random,
// let each through exactly once.
func TestHostsSideBySide(t *testing.T) {
	m := miniredis.RunT(t)
	sideBySide(t, "redis://"+m.Addr(), 60)
}

func sideBySide(t *testing.T, address string, ids int) {
	const hosts = 3
	var mu sync.Mutex
	written, dropped := map[string]int{}, map[string]int{}
	var all sync.WaitGroup
	for h := range hosts {
		p := join(t, address, fmt.Sprint("host", h), false)
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(h), 7))
			for ref, i := range rng.Perm(2 * ids) {
				id := fmt.Sprint(i % ids)
				for attempt := 0; ; attempt++ {
					r := state.Ref(ref*1000 + attempt + 1)
					code, at, err := p.claim(r, id)
					if err != nil {
						t.Error(err)
						return
					}
					if code == state.Pending {
						continue // sent again, as its sender is told
					}
					if code == state.Confirmed {
						mu.Lock()
						if dropped[id]++; written[id] == 0 {
							t.Errorf("id %s dropped as the duplicate of %v, which was not written", id, at)
						}
						mu.Unlock()
						break
					}
					if rng.IntN(4) == 0 {
						p.settle(r, klamm.Failed, state.Position{})
						continue
					}
					mu.Lock()
					written[id]++
					mu.Unlock()
					p.settle(r, klamm.Written, state.Position{Topic: "orders", Offset: int64(r)})
					break
				}
			}
		})
	}
	all.Wait()
	for i := range ids {
		if id := fmt.Sprint(i); written[id] != 1 || dropped[id] != 2*hosts-1 {
			t.Errorf("id %s: %d written, %d dropped", id, written[id], dropped[id])
		}
	}
}
