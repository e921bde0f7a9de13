package state

// PageBytes returns what a memory backend has taken outside of the Go heap.
func PageBytes(b Backend) int64 { return b.(*memory).pages.used }
