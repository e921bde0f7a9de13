//go:build unix

package runtime

import "syscall"

func reserve(n int) (reservation, error) {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return reservation{}, err
	}
	return reservation{reserved: b, release: unmap, mapped: true}, nil
}

func unmap(b []byte) {
	if err := syscall.Munmap(b); err != nil {
		panic("runtime: unmap the memory of an instance: " + err.Error())
	}
}
