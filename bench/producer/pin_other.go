//go:build !linux

package main

func onCore(_ int, f func() error) error { return f() }

const pinned = false
