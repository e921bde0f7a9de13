//go:build linux || darwin

package state

import "syscall"

// diskFree returns the bytes that are free where path is, -1 if nobody says.
func diskFree(path string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(path, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
