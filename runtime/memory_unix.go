//go:build unix

package runtime

import "syscall"

func reserve(n int) (b []byte, release func([]byte), err error) {
	b, err = syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil, err
	}
	return b, unmap, nil
}

func unmap(b []byte) {
	if err := syscall.Munmap(b); err != nil {
		panic("runtime: unmap the memory of an instance: " + err.Error())
	}
}
