package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/klamm-io/klamm/internal/filelock"
)

// lockName is the file that keeps a second broker away from a data_dir.
const lockName = ".klamm.lock"

// claimDir makes dir usable for this process alone and returns what gives it
// back. Without a directory there is nothing to do.
func claimDir(dir string) (unlock func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded broker: data_dir %q cannot be made; name a directory that this user may write: %w", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: data_dir %q cannot be written; name a directory that this user may write: %w", dir, err)
	}
	if err := filelock.Lock(f); err != nil {
		f.Close()
		if errors.Is(err, filelock.ErrLocked) {
			return nil, fmt.Errorf("embedded broker: data_dir %q is in use by another broker; stop it or name another directory", dir)
		}
		return nil, fmt.Errorf("embedded broker: data_dir %q: %w", dir, err)
	}
	// The file stays: removing it would let two brokers lock two files of one
	// name. Closing it gives the lock back.
	return func() { f.Close() }, nil
}
