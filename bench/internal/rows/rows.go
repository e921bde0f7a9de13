// Package rows is what a benchmark reports: rows of JSON, or tables.
package rows

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
)

// Row is one measured figure. NsPerRecord and AllocsPerRecord are medians over
// the rounds of one run; allocations are those of the Go heap of the host.
type Row struct {
	Impl            string  `json:"impl"`
	Guest           string  `json:"guest"`
	Op              string  `json:"op"`
	Batch           int     `json:"batch"`
	Size            int     `json:"size"`
	NsPerRecord     float64 `json:"ns_per_record"`
	AllocsPerRecord float64 `json:"allocs_per_record"`
}

var (
	impls    = []string{"klamm", "klamm-unmetered", "native", "extism", "go-plugin", "reflection", "close-on-done"}
	guests   = []string{"c", "go", "rust", "assemblyscript"}
	opNames  = []string{"pass", "route", "dedup", "rewrite", "mask"}
	atLeast1 = func(n int) bool { return n >= 1 }
)

// Validate reports the first thing that is wrong with a row.
func (r Row) Validate() error {
	switch {
	case !slices.Contains(impls, r.Impl):
		return fmt.Errorf("row %+v: unknown impl %q", r, r.Impl)
	case !slices.Contains(guests, r.Guest):
		return fmt.Errorf("row %+v: unknown guest %q", r, r.Guest)
	case !slices.Contains(opNames, r.Op):
		return fmt.Errorf("row %+v: unknown op %q", r, r.Op)
	case !atLeast1(r.Batch) || !atLeast1(r.Size):
		return fmt.Errorf("row %+v: batch and size must be positive", r)
	case !(r.NsPerRecord > 0) || math.IsInf(r.NsPerRecord, 0):
		return fmt.Errorf("row %+v: no time was measured", r)
	case !(r.AllocsPerRecord >= 0) || math.IsInf(r.AllocsPerRecord, 0):
		return fmt.Errorf("row %+v: allocations are no number", r)
	}
	return nil
}

// WriteJSON writes one object a line.
func WriteJSON[R any](w io.Writer, rows []R) error {
	e := json.NewEncoder(w)
	for _, r := range rows {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

type line struct {
	op          string
	size        int
	impl, guest string
}

// WriteTables writes a table for each operation and size, a line for each
// implementation and a column for each batch. In brackets are allocations.
func WriteTables(w io.Writer, rows []Row) error {
	var batches []int
	var lines []line
	cells := map[line]map[int]Row{}
	for _, r := range rows {
		l := line{r.Op, r.Size, r.Impl, r.Guest}
		if cells[l] == nil {
			cells[l] = map[int]Row{}
			lines = append(lines, l)
		}
		if !slices.Contains(batches, r.Batch) {
			batches = append(batches, r.Batch)
		}
		cells[l][r.Batch] = r
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	for i, l := range lines {
		if i == 0 || l.op != lines[i-1].op || l.size != lines[i-1].size {
			fmt.Fprintf(t, "\n%s, %d B: ns a record (allocations)\t\t", l.op, l.size)
			for _, b := range batches {
				fmt.Fprintf(t, "%d\t", b)
			}
			fmt.Fprintln(t)
		}
		fmt.Fprintf(t, "%s\t%s\t", l.impl, l.guest)
		for _, b := range batches {
			if r, ok := cells[l][b]; ok {
				fmt.Fprintf(t, "%s (%s)\t", short(r.NsPerRecord), short(r.AllocsPerRecord))
			} else {
				fmt.Fprint(t, "-\t")
			}
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// short writes three digits that count.
func short(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
