//go:build !amd64

package produce

func prefetchLines(*byte) {}
