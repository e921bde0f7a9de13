//go:build !unix

package drive

func cpuSeconds() float64 { return 0 }
