//go:build !linux

package state

func mapHuge(int) (huge, mapping []byte) { return nil, nil }

func unmap([]byte) {}
