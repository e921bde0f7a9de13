//go:build !linux && !darwin

package state

func diskFree(string) int64 { return -1 }
