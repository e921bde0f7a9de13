package peer

import (
	"bytes"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/bench/internal/workload"
)

type judgeFunc func([]workload.Record, []ops.Result) error

func (f judgeFunc) Judge(r []workload.Record, out []ops.Result) error { return f(r, out) }
func (judgeFunc) Close() error                                        { return nil }

func TestCheckTakesNative(t *testing.T) {
	for _, size := range []int{200, 10 << 10} {
		ring := workload.NewRing(size)
		for _, op := range ops.All() {
			j := openNative(op)
			for _, batch := range []int{1, 8, 64, 512} {
				if err := Check(j, op, ring, batch); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// A benchmark of something that computes nothing, or something else, is worse
// than none.
func TestCheckRefuses(t *testing.T) {
	ring := workload.NewRing(200)
	for _, tt := range []struct {
		name string
		ops  []ops.Op
		run  func(op ops.Op, native Judge) judgeFunc
		want string
	}{
		{"nothing is answered", ops.All(), func(ops.Op, Judge) judgeFunc {
			return func([]workload.Record, []ops.Result) error { return nil }
		}, "verdict 255"},
		{"everything passes", []ops.Op{ops.Route, ops.Dedup, ops.Rewrite, ops.Mask}, func(ops.Op, Judge) judgeFunc {
			return func(_ []workload.Record, out []ops.Result) error { clear(out); return nil }
		}, "verdict 0"},
		{"another partition", []ops.Op{ops.Route}, spoil(func(out []ops.Result) { out[63].Partition ^= 1 }), "partition"},
		{"a byte of a value", []ops.Op{ops.Rewrite, ops.Mask}, spoil(func(out []ops.Result) {
			out[7].Value = bytes.Replace(out[7].Value, []byte("mag"), []byte("mab"), 1)
		}), "value"},
		{"the first batch over again", []ops.Op{ops.Route, ops.Rewrite, ops.Mask}, func(_ ops.Op, native Judge) judgeFunc {
			return func(_ []workload.Record, out []ops.Result) error {
				return native.Judge(ring.Batch(0, len(out)), out)
			}
		}, "of record 6"},
	} {
		for _, op := range tt.ops {
			err := Check(tt.run(op, openNative(op)), op, ring, 64)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s, %s: got %v, want an error with %q", tt.name, op, err, tt.want)
			}
		}
	}
}

func spoil(f func([]ops.Result)) func(ops.Op, Judge) judgeFunc {
	return func(_ ops.Op, native Judge) judgeFunc {
		return func(r []workload.Record, out []ops.Result) error {
			err := native.Judge(r, out)
			f(out)
			return err
		}
	}
}

func TestArena(t *testing.T) {
	var a arena
	for range 3 {
		a.reset()
		var kept [][]byte
		for i := range 100 {
			kept = append(kept, a.copy(bytes.Repeat([]byte{byte(i)}, 10<<10)))
		}
		kept = append(kept, a.copy(bytes.Repeat([]byte{100}, chunkSize+1)))
		for i, v := range kept {
			if len(v) < 10<<10 || bytes.Count(v, []byte{byte(i)}) != len(v) {
				t.Fatalf("value %d was overwritten", i)
			}
		}
	}
	v := make([]byte, 10<<10)
	if n := testing.AllocsPerRun(10, func() { a.reset(); a.copy(v) }); n != 0 {
		t.Errorf("%v allocations, want none once it is warm", n)
	}
}
