package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ownDir makes dir if it does not exist, and reports why it must not hold
// native code that this process will run: only this process's user may be able to
// write to it.
func ownDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	switch {
	case st.Mode()&fs.ModeSymlink != 0:
		return errors.New("it is a symbolic link")
	case !st.IsDir():
		return errors.New("it is no directory")
	case st.Mode().Perm() != 0o700:
		return fmt.Errorf("its mode is %#o, must be 0700", st.Mode().Perm())
	case !ownedByUs(st):
		return errors.New("it belongs to another user")
	}
	return nil
}
