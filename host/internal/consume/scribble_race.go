//go:build race

package consume

// scribbles has memory that was given back overwritten, so that whoever still reads
// it is found out: by the race detector, or by what it reads.
const scribbles = true
