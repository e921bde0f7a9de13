package runtime

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/klamm-io/klamm/runtime/guard"
	"github.com/klamm-io/klamm/sdk/abi"
)

// pointerPairs are the parameters, pointer and length, that an import of klamm
// must find inside of the memory before it does anything.
var pointerPairs = map[string][][2]int{
	abi.ImportLog:      {{1, 2}},
	abi.ImportClaim:    {{1, 2}},
	abi.ImportStateGet: {{0, 1}, {2, 3}},
	abi.ImportStatePut: {{0, 1}, {2, 3}},
	abi.ImportRandom:   {{0, 1}},
	abi.ImportHMAC:     {{0, 1}, {2, 3}},
	abi.ImportValue:    {{1, 2}},
	abi.ImportHeaders:  {{1, 2}},
}

// Host calls with any arguments either trap, as they must when a pointer leads
// outside, or answer; they never write behind the memory or panic otherwise.
func FuzzHostCalls(f *testing.F) {
	p := load(f, engineOf(f, EngineConfig{}), dropAll(), PluginConfig{
		Grants: GrantAll, MemoryMax: 16 * pageSize, Secrets: map[string][]byte{"": []byte("s")},
	})
	type call struct{ module, name string }
	var calls []call
	for _, module := range slices.Sorted(maps.Keys(guard.HostFunctions)) {
		for _, name := range slices.Sorted(maps.Keys(guard.HostFunctions[module])) {
			if name != "poll_oneoff" { // sleeps
				calls = append(calls, call{module, name})
			}
		}
	}
	for i := range calls {
		for _, v := range []uint64{0, pageSize - 4, pageSize, 1 << 31, 1<<32 - 1} {
			f.Add(uint8(i), uint8(phaseHook), bytes.Repeat(binary.LittleEndian.AppendUint64(nil, v), 9))
		}
	}
	f.Fuzz(func(t *testing.T, which, when uint8, args []byte) {
		c := calls[int(which)%len(calls)]
		in := waiting(t, p)
		in.phase = phase(when % uint8(phaseClose+1))
		stack := make([]uint64, 9)
		for i := range stack {
			if len(args) >= 8 {
				stack[i], args = binary.LittleEndian.Uint64(args), args[8:]
			}
		}
		given := slices.Clone(stack)
		trapped := hostCall(t, in, lookupHost(c.module, c.name), stack)
		if c.module == guard.WASIModule {
			wantErrno(t, c.name, stack[0], trapped)
		}
		for _, p := range pointerPairs[c.name] {
			if end := uint64(uint32(given[p[0]])) + uint64(uint32(given[p[1]])); end > uint64(in.mem.length) && !trapped {
				t.Errorf("%s took %d bytes at %d", c.name, uint32(given[p[1]]), uint32(given[p[0]]))
			}
		}
		if behind := in.mem.reserved[in.mem.length:]; len(bytes.Trim(behind, "\x00")) > 0 {
			t.Errorf("%s wrote behind the memory", c.name)
		}
	})
}

// waiting is an instance between two calls, made to look as if it were in one
// with a block of two records.
func waiting(t *testing.T, p *Plugin) *instance {
	t.Helper()
	h := newFakeHost()
	h.values = [][]byte{nil, []byte("value")}
	h.headers = [][]Edit{nil, {{Key: []byte("k"), Value: []byte("v")}}}
	s := sit(t, p, h)
	t.Cleanup(func() {
		s.cur.in.phase = phaseIdle
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	in := s.cur.in
	in.metrics = []int32{7}
	in.running.block, in.running.count = keyed(2, abi.FieldKey), 2
	return in
}

func hostCall(t *testing.T, in *instance, f hostFunction, stack []uint64) (trapped bool) {
	t.Helper()
	defer func() {
		err, _ := recover().(error)
		var trap *hostTrap
		var exit *exitTrap
		switch {
		case err == nil:
		case errors.As(err, &trap), errors.As(err, &exit), errors.As(err, new(lateTrap)):
			trapped = true
		default:
			panic(err)
		}
	}()
	f(in, stack)
	return false
}

func wantErrno(t *testing.T, name string, answer uint64, trapped bool) {
	t.Helper()
	const lastErrno = 76
	switch {
	case trapped && !slices.Contains([]string{"proc_exit", "proc_raise", "sched_yield"}, name):
		t.Errorf("%s trapped", name)
	case !trapped && answer > lastErrno:
		t.Errorf("%s answered %d", name, answer)
	}
}
