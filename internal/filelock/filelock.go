// Package filelock keeps two processes off one file. All functions are safe for
// concurrent use.
package filelock

import "errors"

// ErrLocked: another open file holds the lock, of this process or another.
var ErrLocked = errors.New("locked")
