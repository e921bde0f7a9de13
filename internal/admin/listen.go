package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"
)

const unixScheme = "unix:"

// IsUnix splits an address "unix:PATH".
func IsUnix(listen string) (path string, ok bool) { return strings.CutPrefix(listen, unixScheme) }

// open listens on host:port, or on a socket of mode 0600.
func open(listen string) (net.Listener, error) {
	path, unix := IsUnix(listen)
	if !unix {
		l, err := net.Listen("tcp", listen)
		if err != nil {
			return nil, fmt.Errorf(`admin.listen %q: %w; choose another port, or "" for none`, listen, err)
		}
		return l, nil
	}
	if err := clearSocket(path); err != nil {
		return nil, fmt.Errorf("admin.listen %q: %w", listen, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin.listen %q: %w; its folder must exist and be writable", listen, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin.listen %q: %w", listen, err), l.Close())
	}
	return l, nil
}

// clearSocket removes what a process that was killed left behind.
func clearSocket(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file that is no socket; remove it, or choose another path")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return errors.New("another klamm listens there; stop it, or choose another path")
	}
	return os.Remove(path)
}
