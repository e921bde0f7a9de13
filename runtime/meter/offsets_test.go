package meter

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"
)

// codeOf returns the content of a module's code section.
func codeOf(t *testing.T, wasm []byte) []byte {
	t.Helper()
	for r := (reader{b: wasm, p: preambleSize}); r.left() > 0; {
		id := r.byte()
		body := r.sub(r.u32())
		if r.err != nil {
			t.Fatal(r.err)
		}
		if id == secCode {
			return body.b
		}
	}
	t.Fatal("no code")
	return nil
}

// What stands at an offset of the metered code stood at the one that the map
// says.
func TestOffsetsLeadToTheSameCode(t *testing.T) {
	wasm, err := os.ReadFile("../../testdata/faulty/faulty.wasm")
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []bool{false, true} {
		res, err := Rewrite(wasm, Options{Off: off})
		if err != nil {
			t.Fatal(err)
		}
		from, to := codeOf(t, wasm), codeOf(t, res.Wasm)
		copied := 0
		for i, s := range res.Offsets {
			copied += int(s.size)
			if !bytes.Equal(from[s.from:s.from+s.size], to[s.to:s.to+s.size]) {
				t.Fatalf("stretch %d of %d: the code differs", i, len(res.Offsets))
			}
			for _, k := range []uint32{0, s.size / 2, s.size} {
				if got := res.Offsets.Original(s.to + k); s.size > 0 && got != s.from+k && i+1 < len(res.Offsets) && s.to+k < res.Offsets[i+1].to {
					t.Fatalf("stretch %d: offset %d was %d, not %d", i, s.to+k, s.from+k, got)
				}
			}
		}
		if copied < len(from)*8/10 {
			t.Errorf("%d bytes of %d are mapped", copied, len(from))
		}
		last := res.Offsets[len(res.Offsets)-1].to
		if got := res.Offsets.Original(last + 1); got != 0 || res.Offsets.Original(0) != 0 {
			t.Errorf("the meter's own code was at %d", got)
		}
		if bytes.Contains(res.Wasm, []byte("faulty.c")) {
			t.Error("the module's own debug information is still there")
		}
	}
}

func TestLargeDebugInformationIsLeftOut(t *testing.T) {
	module := []byte("\x00asm\x01\x00\x00\x00")
	section := func(name string, n int) {
		body := append(appendName(nil, name), make([]byte, n)...)
		module = append(appendU32(append(module, secCustom), uint32(len(body))), body...)
	}
	section(debugLine, 100)
	res, err := Rewrite(module, Options{})
	if err != nil || len(res.Debug[debugLine]) != 100 {
		t.Fatalf("%v, %d bytes", err, len(res.Debug[debugLine]))
	}
	section(debugStr, debugMax)
	section(debugLineStr, 100)
	if res, err = Rewrite(module, Options{}); err != nil || res.Debug != nil || res.Offsets != nil {
		t.Errorf("%v, %d sections kept", err, len(res.Debug))
	}
	if n := binary.Size(stretch{}); n != 12 {
		t.Errorf("a stretch takes %d bytes", n)
	}
}
