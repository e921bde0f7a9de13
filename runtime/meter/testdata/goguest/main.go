// A guest for benchmarks: what plugins written in Go do.
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags='-s -w'
package main

import (
	"slices"
	"strings"
)

var (
	block  [64 << 10]byte
	routes = map[string]int32{}
	lines  []string
	words  [4096]uint32
)

//go:wasmexport noop
func noop() {}

//go:wasmexport setup
func setup() int32 {
	for i := range block {
		block[i] = byte(i*31 + i>>8)
	}
	for i := range 64 {
		s := strings.Repeat(string(rune('a'+i%26)), 8+i%13) + ":eu-west"
		lines = append(lines, s)
		routes[s] = int32(i)
	}
	return int32(len(block))
}

//go:wasmexport fnv
func fnv(n int32) int32 {
	h := uint32(2166136261)
	for _, b := range block[:n] {
		h = (h ^ uint32(b)) * 16777619
	}
	return int32(h)
}

// route looks keys up and cuts them, as a routing plugin does.
//
//go:wasmexport route
func route(n int32) int32 {
	sum := int32(0)
	for i := range n {
		s := lines[i%64]
		if p := strings.IndexByte(s, ':'); p > 0 && strings.HasSuffix(s, "west") {
			sum += int32(p)
		}
		sum += routes[s]
	}
	return sum
}

//go:wasmexport mask
func mask(n int32) int32 {
	hits := int32(0)
	for i, b := range block[:n] {
		if b >= '0' && b <= '9' {
			block[i] = '*'
			hits++
		}
	}
	return hits
}

//go:wasmexport sort
func sort(n int32) int32 {
	x := uint32(1)
	for i := range n {
		x = x*1664525 + 1013904223
		words[i] = x
	}
	slices.Sort(words[:n])
	return int32(words[n/2])
}

//go:wasmexport fib
func fib(n int32) int32 {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

func main() {}
