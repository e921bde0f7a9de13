package mask

import (
	"bytes"
	stdsha256 "crypto/sha256"
	"testing"
)

// TestSHA256 compares with the standard library's at every length around the
// padding's edges.
func TestSHA256(t *testing.T) {
	for n := range 200 {
		data := bytes.Repeat([]byte{byte(n), 0x80, 0xff}, n)[:n]
		if got, want := sha256(data), stdsha256.Sum256(data); got != want {
			t.Errorf("sha256 of %d bytes: got %x, want %x", n, got, want)
		}
	}
}
