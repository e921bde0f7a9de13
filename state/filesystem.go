package state

import (
	"io"
	"os"
	"path/filepath"
)

// fileSystem is what a state file needs of the disk. Tests put faults in.
type fileSystem interface {
	open(path string, flag int) (fileHandle, error)
	rename(from, to string) error
	remove(path string) error
	// syncDir makes a rename survive a power cut.
	syncDir(path string) error
}

type fileHandle interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Truncate(size int64) error
	Close() error
	size() (int64, error)
}

// disk is the fileSystem of the operating system. Files are their owner's alone:
// their key tells who could make ids collide.
type disk struct{}

type diskFile struct{ *os.File }

func (f diskFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (disk) open(path string, flag int) (fileHandle, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (disk) rename(from, to string) error { return os.Rename(from, to) }
func (disk) remove(path string) error     { return os.Remove(path) }

func (disk) syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	err = d.Sync()
	if closed := d.Close(); err == nil {
		err = closed
	}
	return err
}
