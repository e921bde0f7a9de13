package plugin

import "testing"

// TestC049_Murmur2IsMasked has the vectors of Kafka's UtilsTest.testMurmur2, with
// the sign bit cleared as Utils.toPositive does.
func TestC049_Murmur2IsMasked(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := Murmur2([]byte(key)); got != uint32(want)&0x7fffffff {
			t.Errorf("%q: got %d, want %d", key, got, uint32(want)&0x7fffffff)
		}
	}
}

func TestOtherHashes(t *testing.T) {
	if got := CRC32([]byte("123456789")); got != 0xcbf43926 {
		t.Errorf("CRC32: got %x", got)
	}
	for in, want := range map[string]uint32{"": 0x811c9dc5, "a": 0xe40c292c, "foobar": 0xbf9cf968} {
		if got := FNV1a([]byte(in)); got != want {
			t.Errorf("FNV1a(%q): got %x, want %x", in, got, want)
		}
	}
}
