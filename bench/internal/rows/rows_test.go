package rows

import (
	"math"
	"strings"
	"testing"
)

var good = Row{Impl: "klamm", Guest: "c", Op: "route", Batch: 64, Size: 200, NsPerRecord: 38.2, AllocsPerRecord: 0}

func TestWriteJSON(t *testing.T) {
	var b strings.Builder
	if err := WriteJSON(&b, []Row{good, good}); err != nil {
		t.Fatal(err)
	}
	const want = `{"impl":"klamm","guest":"c","op":"route","batch":64,"size":200,"ns_per_record":38.2,"allocs_per_record":0}` + "\n"
	if b.String() != want+want {
		t.Errorf("got %s, want twice %s", b.String(), want)
	}
}

func TestValidate(t *testing.T) {
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		name  string
		spoil func(*Row)
		want  string
	}{
		{"impl", func(r *Row) { r.Impl = "x" }, "impl"},
		{"guest", func(r *Row) { r.Guest = "" }, "guest"},
		{"op", func(r *Row) { r.Op = "x" }, "op"},
		{"batch", func(r *Row) { r.Batch = 0 }, "batch"},
		{"size", func(r *Row) { r.Size = -1 }, "size"},
		{"no time", func(r *Row) { r.NsPerRecord = 0 }, "time"},
		{"NaN", func(r *Row) { r.NsPerRecord = math.NaN() }, "time"},
		{"allocations", func(r *Row) { r.AllocsPerRecord = math.Inf(1) }, "allocations"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := good
			tt.spoil(&r)
			if err := r.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error about %s", err, tt.want)
			}
		})
	}
}

func TestWriteTables(t *testing.T) {
	other := good
	other.Impl, other.Batch, other.NsPerRecord, other.AllocsPerRecord = "native", 512, 1234.5, 2.25
	var b strings.Builder
	if err := WriteTables(&b, []Row{good, other}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"route, 200 B", "38.2 (0)", "1234 (2.25)", " - "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
