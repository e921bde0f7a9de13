//go:build !unix

package broker

import "os"

// lockFile does nothing where the standard library has no file locks.
func lockFile(*os.File) error { return nil }
