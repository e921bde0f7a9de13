package runtime

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm/runtime/guard"
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// wasiGuest keeps the answers of calls at 2000, 2004, ...
type wasiGuest struct {
	w.Guest
	calls [][]byte
}

func (g *wasiGuest) imp(name string) int { return importOf(&g.Guest, guard.WASIModule, name) }

func (g *wasiGuest) call(f int, args ...[]byte) {
	g.calls = append(g.calls, kept(int32(2000+4*len(g.calls)), w.Seq(args...), w.Call(f)))
}

func (g *wasiGuest) hook() { g.Hook(abi.OnSend, 0, w.Seq(g.calls...), w.I64Const(0)) }

func TestWASI(t *testing.T) {
	g := new(wasiGuest)
	names := []string{
		"environ_sizes_get", "environ_get", "args_sizes_get", "args_get", "clock_time_get", "clock_res_get",
		"fd_prestat_get", "fd_fdstat_get", "path_open", "sock_recv", "random_get", "sched_yield", "fd_close",
	}
	f := map[string]int{}
	for _, n := range names {
		f[n] = g.imp(n)
	}
	g.call(f["environ_sizes_get"], consts(100, 104))
	g.call(f["environ_get"], consts(200, 300))
	g.call(f["args_sizes_get"], consts(108, 112))
	g.call(f["args_get"], consts(0, 0))
	g.call(f["clock_time_get"], consts(0), w.I64Const(0), consts(1000))
	g.call(f["clock_time_get"], consts(1), w.I64Const(0), consts(1008))
	g.call(f["clock_time_get"], consts(2), w.I64Const(0), consts(1008))
	g.call(f["clock_res_get"], consts(0, 1016))
	g.call(f["fd_prestat_get"], consts(3, 1024))
	g.call(f["fd_fdstat_get"], consts(1, 1032))
	g.call(f["fd_fdstat_get"], consts(3, 1032))
	g.call(f["path_open"], consts(3, 0, 0, 0, 0), w.I64Const(0), w.I64Const(0), consts(0, 0))
	g.call(f["sock_recv"], consts(3, 0, 0, 0, 0, 0))
	g.call(f["random_get"], consts(1100, 16))
	g.call(f["random_get"], consts(-1, 16))
	g.call(f["sched_yield"])
	g.call(f["environ_get"], consts(-1, 300))
	g.call(f["fd_close"], consts(1))
	g.call(f["fd_close"], consts(4))
	g.hook()
	s := seatOf(t, &g.Guest, PluginConfig{Env: map[string]string{"A": "b", "GOGC": "50"}, MemoryMax: 2 << 20}, newFakeHost())
	before := time.Now()
	judge(t, s, abi.OnSend, keyed(1, 0))

	want := []int32{0, 0, 0, 0, 0, 0, wasiINVAL, 0, wasiBADF, 0, wasiBADF, wasiBADF, wasiBADF, 0, wasiFAULT, 0, wasiFAULT, 0, wasiBADF}
	for i, x := range want {
		if got := peek32(t, s, uint32(2000+4*i)); got != x {
			t.Errorf("call %d answered %d, want %d", i, got, x)
		}
	}
	env := "A=b\x00GOGC=50\x00GOMEMLIMIT=1572864\x00"
	if n, size := peek32(t, s, 100), peek32(t, s, 104); n != 3 || int(size) != len(env) {
		t.Errorf("environment of %d strings in %d bytes", n, size)
	}
	if got := string(peek(t, s, 300, uint32(len(env)))); got != env || peek32(t, s, 204) != 304 {
		t.Errorf("environment %q, second at %d", got, peek32(t, s, 204))
	}
	if n, size := peek32(t, s, 108), peek32(t, s, 112); n != 0 || size != 0 {
		t.Errorf("%d arguments in %d bytes", n, size)
	}
	if now := time.Unix(0, int64(le.Uint64(peek(t, s, 1000, 8)))); now.Before(before) || now.After(time.Now()) {
		t.Errorf("wall clock %s", now)
	}
	if kind := peek(t, s, 1032, 1)[0]; kind != 2 {
		t.Errorf("stdout is of kind %d", kind)
	}
}

func TestStdoutAndStderrAreLogLines(t *testing.T) {
	g := new(wasiGuest)
	write := g.imp("fd_write")
	long := strings.Repeat("y", 1500)
	g.Data(100, []byte("one\ntw"+"o\n\x1b\nrest"))
	g.Data(200, []byte{100, 0, 0, 0, 6, 0, 0, 0, 106, 0, 0, 0, 8, 0, 0, 0}) // two vectors
	g.Data(300, []byte{0x90, 1, 0, 0, 0xdc, 5, 0, 0})                       // 1500 bytes at 400
	g.Data(400, []byte(long))
	g.call(write, consts(2, 200, 2, 240))
	g.call(write, consts(1, 300, 1, 244))
	g.call(write, consts(0, 200, 1, 248))
	g.call(write, consts(1, -8, 3, 248))
	g.hook()
	h := newFakeHost()
	s := seatOf(t, &g.Guest, PluginConfig{Grants: GrantLog}, h)
	judge(t, s, abi.OnSend, keyed(1, 0))
	want := []string{"2 one", "2 two", `2 \u{1b}`, "1 " + long[:abi.LogLineMax-3] + "...", "2 rest"}
	if !slices.Equal(h.logs, want) {
		t.Errorf("got %q, want %q", h.logs, want)
	}
	for at, n := range map[uint32]int32{240: 14, 244: 1500, 2000: 0, 2008: wasiBADF, 2012: wasiFAULT} {
		if got := peek32(t, s, at); got != n {
			t.Errorf("at %d: %d, want %d", at, got, n)
		}
	}

	s = seatOf(t, &g.Guest, PluginConfig{}, newFakeHost())
	judge(t, s, abi.OnSend, keyed(1, 0))
	if got := s.at.host.(*fakeHost).logs; len(got) > 0 {
		t.Errorf("without the grant got %q", got)
	}
}

func TestWriteOfMoreThanOneCallTakes(t *testing.T) {
	g := new(wasiGuest)
	g.Pages = 4
	write := g.imp("fd_write")
	g.Data(200, []byte{0, 0, 1, 0, 0, 0, 2, 0}) // 128 KiB at 64 KiB
	g.call(write, consts(1, 200, 1, 240))
	g.hook()
	s := seatOf(t, &g.Guest, PluginConfig{}, newFakeHost())
	judge(t, s, abi.OnSend, keyed(1, 0))
	if got := peek32(t, s, 240); got != writeMax {
		t.Errorf("%d bytes written, want %d", got, writeMax)
	}
}

func TestProcExitEndsTheCallOnly(t *testing.T) {
	g := new(w.Guest)
	write, exit := importOf(g, guard.WASIModule, "fd_write"), importOf(g, guard.WASIModule, "proc_exit")
	g.Data(100, []byte("fatal: no luck\n"))
	g.Data(200, []byte{100, 0, 0, 0, 15, 0, 0, 0})
	g.Hook(abi.OnSend, 0, consts(2, 200, 1, 240), w.Call(write), w.Drop, w.I32Const(3), w.Call(exit), w.I64Const(0))
	s := seatOf(t, g, PluginConfig{}, newFakeHost())
	for range 3 {
		_, err := s.Judge(context.Background(), abi.OnSend, keyed(1, 0))
		if trap := as[*TrapError](t, err); trap.Trap != "proc_exit(3)" || trap.Said != "fatal: no luck" {
			t.Errorf("got %+v", trap)
		}
		wantProblem(t, err, "proc_exit(3): fatal: no luck")
	}
}

// subscription encodes one of poll_oneoff.
func subscription(tag byte, user uint64, timeout time.Duration, absolute bool) []byte {
	b := make([]byte, subscriptionSize)
	le.PutUint64(b, user)
	b[subTag] = tag
	le.PutUint32(b[subClockID:], clockMonotonic)
	le.PutUint64(b[subTimeout:], uint64(timeout))
	if absolute {
		le.PutUint16(b[subFlags:], 1)
	}
	return b
}

func poller(subs ...[]byte) *w.Guest {
	g := new(wasiGuest)
	poll := g.imp("poll_oneoff")
	g.Data(100, slices.Concat(subs...))
	g.call(poll, consts(100, 1000, int32(len(subs)), 900))
	g.hook()
	return &g.Guest
}

func TestPollOneoff(t *testing.T) {
	e := newEngine(t)
	for _, tc := range []struct {
		name   string
		subs   [][]byte
		answer int32
		events string // user data and error of each
	}{
		{"short sleep", [][]byte{subscription(0, 7, time.Microsecond, false), subscription(0, 8, time.Hour, false)}, 0, "7:0 "},
		{"past", [][]byte{subscription(0, 7, 1, true)}, 0, "7:0 "},
		{"descriptor", [][]byte{subscription(1, 9, 0, false), subscription(0, 8, time.Hour, false)}, 0, "9:8 "},
		{"nothing", nil, wasiINVAL, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := sit(t, load(t, e, poller(tc.subs...), PluginConfig{}), newFakeHost())
			judge(t, s, abi.OnSend, keyed(1, 0))
			var got string
			for i := range uint32(peek32(t, s, 900)) {
				ev := peek(t, s, 1000+i*eventSize, eventSize)
				got += fmt.Sprintf("%d:%d ", le.Uint64(ev), le.Uint16(ev[evError:]))
			}
			if peek32(t, s, 2000) != tc.answer || got != tc.events {
				t.Errorf("answer %d, events %q", peek32(t, s, 2000), got)
			}
		})
	}
}

func TestSleepEndsAtTheDeadline(t *testing.T) {
	s := seatOf(t, poller(subscription(0, 7, time.Hour, false)), PluginConfig{Timeout: 10 * time.Millisecond}, newFakeHost())
	start := time.Now()
	_, err := s.Judge(context.Background(), abi.OnSend, keyed(1, 0))
	as[*DeadlineError](t, err)
	if took := time.Since(start); took > time.Minute {
		t.Errorf("the call ended after %s", took)
	}
}
