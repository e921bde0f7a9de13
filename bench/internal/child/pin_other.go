//go:build !linux

package child

// OnCore runs f, which starts a process, on a core.
func OnCore(_ int, f func() error) error { return f() }

// Pinned is whether processes can be given a core.
const Pinned = false
