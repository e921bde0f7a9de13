//go:build race

package hostile_test

// raceDetector says that memory cannot be measured: the race detector keeps a
// shadow of it that is several times as large.
const raceDetector = true
