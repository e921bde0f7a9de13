//go:build !unix

package runtime

func reserve(n int) (reservation, error) { return reserveHeap(n) }
