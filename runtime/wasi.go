package runtime

import (
	"crypto/rand"
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

// WASI preview 1, as far as language runtimes need it to start and to print:
// no files, no sockets, nothing of the host's environment. What is not here
// answers EBADF, as there are no descriptors but stdout and stderr.
//
// https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md
var wasiFunctions = map[string]hostFunction{
	"args_get":            func(_ *instance, s []uint64) { s[0] = wasiOK },
	"args_sizes_get":      (*instance).argsSizesGet,
	"clock_res_get":       (*instance).clockResGet,
	"clock_time_get":      (*instance).clockTimeGet,
	"environ_get":         (*instance).environGet,
	"environ_sizes_get":   (*instance).environSizesGet,
	"fd_close":            stdioOnly,
	"fd_fdstat_get":       (*instance).fdstatGet,
	"fd_fdstat_set_flags": stdioOnly,
	"fd_write":            (*instance).fdWrite,
	"poll_oneoff":         (*instance).pollOneoff,
	"proc_exit":           func(_ *instance, s []uint64) { panic(&exitTrap{uint32(s[0])}) },
	"proc_raise":          func(_ *instance, s []uint64) { trapf("proc_raise(%d)", uint32(s[0])) },
	"random_get":          (*instance).randomGet,
	"sched_yield":         (*instance).schedYield,
}

// Error numbers of WASI.
const (
	wasiOK    = 0
	wasiBADF  = 8
	wasiFAULT = 21
	wasiINVAL = 28
)

func badDescriptor(_ *instance, s []uint64) { s[0] = wasiBADF }

func isStdio(fd uint64) bool { return uint32(fd) <= 2 }

func stdioOnly(_ *instance, s []uint64) {
	if !isStdio(s[0]) {
		s[0] = wasiBADF
		return
	}
	s[0] = wasiOK
}

// put writes v at off, or answers EFAULT.
func (in *instance) put32(off uint64, v uint32) uint64 {
	b, ok := in.mem.view(uint32(off), 4)
	if !ok {
		return wasiFAULT
	}
	le.PutUint32(b, v)
	return wasiOK
}

func (in *instance) put64(off uint64, v uint64) uint64 {
	b, ok := in.mem.view(uint32(off), 8)
	if !ok {
		return wasiFAULT
	}
	le.PutUint64(b, v)
	return wasiOK
}

func (in *instance) argsSizesGet(s []uint64) {
	err := in.put32(s[0], 0)
	if err == wasiOK {
		err = in.put32(s[1], 0)
	}
	s[0] = err
}

func (in *instance) environSizesGet(s []uint64) {
	size := 0
	for _, e := range in.env {
		size += len(e) + 1
	}
	err := in.put32(s[0], uint32(len(in.env)))
	if err == wasiOK {
		err = in.put32(s[1], uint32(size))
	}
	s[0] = err
}

func (in *instance) environGet(s []uint64) {
	table, at := s[0], s[1]
	s[0] = wasiOK
	for i, e := range in.env {
		b, ok := in.mem.view(uint32(at), uint32(len(e)+1))
		if !ok || in.put32(table+uint64(i)*4, uint32(at)) != wasiOK {
			s[0] = wasiFAULT
			return
		}
		copy(b, e)
		b[len(e)] = 0
		at += uint64(len(e) + 1)
	}
}

const (
	clockRealtime = iota
	clockMonotonic
)

var processStart = time.Now()

func (in *instance) clockTimeGet(s []uint64) {
	switch uint32(s[0]) {
	case clockRealtime:
		s[0] = in.put64(s[2], uint64(time.Now().UnixNano()))
	case clockMonotonic:
		s[0] = in.put64(s[2], uint64(time.Since(processStart)))
	default:
		s[0] = wasiINVAL
	}
}

func (in *instance) clockResGet(s []uint64) {
	if uint32(s[0]) > clockMonotonic {
		s[0] = wasiINVAL
		return
	}
	s[0] = in.put64(s[1], 1)
}

// fdstatGet says that stdin, stdout and stderr are character devices, so that C
// libraries do not buffer more than a line.
func (in *instance) fdstatGet(s []uint64) {
	if !isStdio(s[0]) {
		s[0] = wasiBADF
		return
	}
	b, ok := in.mem.view(uint32(s[1]), 24)
	if !ok {
		s[0] = wasiFAULT
		return
	}
	const characterDevice, rightWrite = 2, 1 << 6
	clear(b)
	b[0] = characterDevice
	le.PutUint64(b[8:], rightWrite)
	s[0] = wasiOK
}

func (in *instance) randomGet(s []uint64) {
	b, ok := in.mem.view(uint32(s[0]), uint32(s[1]))
	switch {
	case !ok:
		s[0] = wasiFAULT
	case len(b) > in.cfg.OutputMax:
		s[0] = wasiINVAL
	default:
		in.watch.charge(cryptUnits * len(b))
		_, _ = rand.Read(b)
		s[0] = wasiOK
	}
}

// writeMax is how much one fd_write takes; the guest is told that the rest was
// not written. It keeps the time spent here, which no deadline cuts, short.
const writeMax = 64 << 10

// fdWrite turns what is written to stdout and stderr into log lines.
func (in *instance) fdWrite(s []uint64) {
	fd, iovs, n := uint32(s[0]), s[1], uint64(min(uint32(s[2]), 1024))
	if fd != 1 && fd != 2 {
		s[0] = wasiBADF
		return
	}
	vec, ok := in.mem.view(uint32(iovs), uint32(n*8))
	if !ok {
		s[0] = wasiFAULT
		return
	}
	written := 0
	for ; len(vec) > 0 && written < writeMax; vec = vec[8:] {
		b, ok := in.mem.view(le.Uint32(vec), le.Uint32(vec[4:]))
		if !ok {
			s[0] = wasiFAULT
			return
		}
		b = b[:min(len(b), writeMax-written)]
		in.watch.charge(cryptUnits * len(b))
		in.print(fd, b)
		written += len(b)
	}
	s[0] = in.put32(s[3], uint32(written))
}

func (in *instance) schedYield(s []uint64) {
	in.checkDeadline()
	s[0] = wasiOK
}

func (in *instance) checkDeadline() {
	if in.watch.left() <= 0 {
		panic(lateTrap{})
	}
}

// Layouts of poll_oneoff.
const (
	subscriptionSize = 48
	eventSize        = 32
	subTag           = 8
	subClockID       = 16
	subTimeout       = 24
	subFlags         = 40
	evError          = 8
	evType           = 10
	tagClock         = 0
	pollMax          = 1024
)

// pollOneoff waits for the clock that is due first, at most until the deadline
// of the call, which then ends in a trap. There is nothing else to wait for:
// descriptors are reported as bad at once.
func (in *instance) pollOneoff(s []uint64) {
	n := uint32(s[2])
	if n == 0 || n > pollMax {
		s[0] = wasiINVAL
		return
	}
	subs, ok := in.mem.view(uint32(s[0]), n*subscriptionSize)
	events, ok2 := in.mem.view(uint32(s[1]), n*eventSize)
	if !ok || !ok2 {
		s[0] = wasiFAULT
		return
	}
	if wait := firstDue(subs); wait > 0 {
		in.sleep(wait)
	}
	in.checkDeadline()
	s[0] = in.put32(s[3], report(subs, events))
}

// firstDue returns how long until the first subscription is due.
func firstDue(subs []byte) time.Duration {
	first := time.Duration(1<<63 - 1)
	for ; len(subs) > 0; subs = subs[subscriptionSize:] {
		first = min(first, dueIn(subs))
	}
	return first
}

func dueIn(sub []byte) time.Duration {
	if sub[subTag] != tagClock {
		return 0
	}
	due := time.Duration(min(le.Uint64(sub[subTimeout:]), 1<<63-1))
	if absolute := le.Uint16(sub[subFlags:])&1 != 0; absolute {
		switch le.Uint32(sub[subClockID:]) {
		case clockRealtime:
			due -= time.Duration(time.Now().UnixNano())
		default:
			due -= time.Since(processStart)
		}
	}
	return due
}

func (in *instance) sleep(d time.Duration) { time.Sleep(min(d, in.watch.left())) }

// report writes an event for each subscription that is due and returns their
// number, at least one.
func report(subs, events []byte) uint32 {
	soon := firstDue(subs)
	written := uint32(0)
	for ; len(subs) > 0; subs = subs[subscriptionSize:] {
		due := dueIn(subs)
		if due > 0 && due > soon {
			continue
		}
		e := events[written*eventSize : (written+1)*eventSize]
		clear(e)
		copy(e[:8], subs[:8]) // user data
		e[evType] = subs[subTag]
		if subs[subTag] != tagClock {
			le.PutUint16(e[evError:], wasiBADF)
		}
		written++
	}
	return written
}

// level is the log level of what is printed to a descriptor.
func level(fd uint32) int32 {
	if fd == 2 {
		return abi.LogWarn
	}
	return abi.LogInfo
}
