//go:build !unix

package filelock

import "os"

// Lock does nothing where the standard library has no file locks.
func Lock(*os.File) error { return nil }
