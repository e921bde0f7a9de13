package state

import (
	"strings"
	"testing"
)

// Backends keep keys as text for ever: its form never changes.
func TestKeyText(t *testing.T) {
	k := Key{0x0807060504030201, 0x100f0e0d0c0b0a09}
	const text = "0102030405060708090a0b0c0d0e0f10"
	if got := k.Text(); got != text {
		t.Errorf("got %s", got)
	}
	if got, err := ParseKey(text); err != nil || got != k {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", text[:31], text + "00", strings.Replace(text, "0", "x", 1)} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("%q is taken for a key", bad)
		}
	}
	if a, b := NewKey(), NewKey(); a == b {
		t.Error("two new keys are the same")
	}
}
