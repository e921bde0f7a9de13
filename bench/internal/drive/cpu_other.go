//go:build !unix

package drive

// CPUSeconds is not known here.
func CPUSeconds() float64 { return 0 }
