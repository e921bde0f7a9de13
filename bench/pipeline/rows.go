package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// row is one job's figures: medians over the rounds of one run. What was not
// measured is null.
type row struct {
	Job         string   `json:"job"`
	ExactlyOnce bool     `json:"exactly_once"`
	Rate        float64  `json:"records_per_s"`     // read, from the start of the job to its last commit
	CPU         float64  `json:"cpu_s_per_million"` // of the job's process
	P50         *float64 `json:"p50_ms"`            // from the producer to a read_committed reader
	P99         *float64 `json:"p99_ms"`
	Kills       *int     `json:"kills"`
	Lost        *int     `json:"lost"`    // ids that are not in the output after the kills
	Doubled     *int     `json:"doubled"` // records in the output beyond one for each id
}

func writeTable(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "job\trecords/s\tCPU s/M\tp50 ms\tp99 ms\tkills\tlost\tdoubled\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%.0f\t%.2f\t%s\t%s\t%s\t%s\t%s\t\n", r.Job, r.Rate, r.CPU, ms(r.P50), ms(r.P99), number(r.Kills), number(r.Lost), number(r.Doubled))
	}
	return t.Flush()
}

func ms(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f", *v)
}

func number(v *int) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprint(*v)
}
