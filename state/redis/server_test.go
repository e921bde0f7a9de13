package redis

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// server runs a real redis-server on a socket of its own.
func server(t *testing.T, args ...string) (socket string) {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("this machine has no redis-server; .ci/toolchains installs it")
	}
	dir := t.TempDir()
	socket = filepath.Join(dir, "s")
	cmd := exec.Command(bin, append([]string{"--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir, "--daemonize", "no"}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	for range 1000 {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			return socket
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("redis-server does not listen")
	return ""
}

// proxy stands between hosts and the server, and makes the network bad.
type proxy struct {
	l     net.Listener
	to    string
	down  atomic.Bool // connections are refused
	stall atomic.Bool // bytes are kept

	mu    sync.Mutex
	conns []net.Conn
	all   sync.WaitGroup
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, to: to}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.reset()
		p.all.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("unix", p.to)
		if err != nil || p.down.Load() {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		p.all.Go(func() { p.pump(in, out) })
		p.all.Go(func() { p.pump(out, in) })
	}
}

func (p *proxy) pump(from, to net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.stall.Load() {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// reset ends all connections that there are.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func TestServerHostsSideBySide(t *testing.T) {
	sideBySide(t, "unix://"+server(t), 150)
}

// A Redis that is away, that resets connections and that answers nothing costs
// no record: claims are refused, and right again when it is back.
func TestServerComesAndGoes(t *testing.T) {
	p := newProxy(t, server(t))
	a, b := join(t, "redis://"+p.l.Addr().String(), "a", false), join(t, "redis://"+p.l.Addr().String(), "b", false)
	a.b.o.Timeout = 2 * time.Second
	for round, bad := range []func(on bool){
		func(on bool) { p.down.Store(on); p.reset() },
		func(bool) { p.reset() },
		func(on bool) { p.stall.Store(on); p.reset() },
	} {
		id := fmt.Sprint("id", round)
		a.want(state.Ref(10*round+1), id, state.New)
		bad(true)
		if round != 1 {
			if _, _, err := a.claim(state.Ref(10*round+2), "other"+id); !errors.Is(err, state.ErrUnavailable) {
				t.Fatalf("round %d: got %v", round, err)
			}
		}
		a.ledger.Settle(state.Ref(10*round+1), state.Settlement{Outcome: klamm.Written, NowMS: 1, At: state.Position{Topic: "orders", Offset: 1}})
		bad(false)
		for a.b.Flush(time.Second) != nil || a.b.ready() != nil {
			time.Sleep(5 * time.Millisecond)
		}
		b.want(state.Ref(10*round+1), id, state.Confirmed)
		a.want(state.Ref(10*round+3), "other"+id, state.New)
	}
}

// A Redis that may take no more refuses claims with its own words.
func TestServerWithoutMemory(t *testing.T) {
	p := join(t, "unix://"+server(t, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction"), "a", false)
	var err error
	for i := 0; i < 200_000 && err == nil; i++ {
		ref := state.Ref(i + 1)
		if _, _, err = p.claim(ref, fmt.Sprint("a rather long id, so that it fills ", i)); err == nil && i%500 == 0 {
			p.settle(ref, klamm.Written, state.Position{Topic: strings.Repeat("t", 200)})
		} else if err == nil {
			p.ledger.Settle(ref, state.Settlement{Outcome: klamm.Written, NowMS: 1, At: state.Position{Topic: strings.Repeat("t", 200)}})
		}
	}
	if !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), "OOM") || !strings.Contains(err.Error(), "raise maxmemory") {
		t.Errorf("got %v", err)
	}
}

// A Redis that evicts forgets claims. The record is written all the same, and it
// is counted.
func TestServerThatEvicts(t *testing.T) {
	p := join(t, "unix://"+server(t, "--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru", "--maxmemory-samples", "20"), "a", false)
	p.want(1, "x", state.New)
	key := p.b.idKey(idOf(p, "x"))
	evicted := func() bool {
		n, err := p.b.rdb.Exists(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		return n == 0
	}
	for i := 0; !evicted(); i++ {
		if i == 20_000 {
			t.Fatal("200 MB of other keys have not pushed the claim out of 4 MB")
		}
		if err := p.b.rdb.Set(t.Context(), fmt.Sprint("filler", i), strings.Repeat("f", 10_000), 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	p.settle(1, klamm.Written, state.Position{Topic: "orders"})
	if got := p.b.Health().Lapsed; got != 1 {
		t.Errorf("%d lapsed, want 1", got)
	}
}
