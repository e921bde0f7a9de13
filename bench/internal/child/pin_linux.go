package child

import (
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// OnCore runs f, which starts a child, so that the child and all of its threads
// may use one core only. On a machine with a single core it is nothing.
func OnCore(core int, f func() error) error {
	if goruntime.NumCPU() <= core {
		return f()
	}
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	var was, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		return err
	}
	one.Set(nth(&was, core))
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	started := f()
	if err := unix.SchedSetaffinity(0, &was); err != nil {
		return err
	}
	return started
}

// nth returns the n-th core that we may use, or the last.
func nth(all *unix.CPUSet, n int) int {
	last := 0
	for core := range 1024 {
		if !all.IsSet(core) {
			continue
		}
		if last = core; n == 0 {
			break
		}
		n--
	}
	return last
}

// Pinned is whether processes can be given a core.
const Pinned = true
