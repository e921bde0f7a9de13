package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// row is one client's figures: medians over the rounds of one run. What a client
// cannot tell is null.
type row struct {
	Client  string   `json:"client"`
	Plugins string   `json:"plugins"`
	Size    int      `json:"size"` // bytes of key and value
	Codec   string   `json:"codec"`
	Rate    float64  `json:"records_per_s"`
	CPU     *float64 `json:"cpu_s_per_million"` // of the client's process
	Allocs  *float64 `json:"allocs_per_record"` // of the Go heap
	P50     *float64 `json:"p50_ms"`            // from Send to the acknowledgement, at a fixed rate
	P99     *float64 `json:"p99_ms"`
}

// writeTable writes a table for each size and codec.
func writeTable(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	for i, r := range rows {
		if i == 0 || r.Size != rows[i-1].Size || r.Codec != rows[i-1].Codec {
			fmt.Fprintf(t, "\n%d B, %s\tplugins\trecords/s\tCPU s/M\tallocs\tp50 ms\tp99 ms\t\n", r.Size, r.Codec)
		}
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%s\t%s\t%s\t%s\t\n", r.Client, r.Plugins, r.Rate, figure(r.CPU), figure(r.Allocs), figure(r.P50), figure(r.P99))
	}
	return t.Flush()
}

func figure(v *float64) string {
	if v == nil {
		return "-"
	}
	if *v < 0.1 {
		return fmt.Sprintf("%.4f", *v)
	}
	return fmt.Sprintf("%.2f", *v)
}
