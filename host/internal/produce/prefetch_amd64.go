package produce

// prefetchLines has the processor get the three cache lines behind that of p, which
// are written soon. Elsewhere it does nothing.
//
// A record ends with an unlock, which waits until everything before it is written.
// With records of many partitions in turn, what is behind the last one of a
// partition is in no cache near by when the next one comes.
//
//go:noescape
func prefetchLines(p *byte)
