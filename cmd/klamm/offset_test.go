package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm/host"
)

func TestParseOffset(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	at := func(t time.Time) host.ReadStart { return host.ReadStart{At: host.ReadTime, Time: t} }
	tests := []struct {
		text  string
		group bool
		want  host.ReadStart
		bad   bool
	}{
		{text: "", want: host.ReadStart{At: host.ReadLatest}},
		{text: "", group: true, want: host.ReadStart{At: host.ReadEarliest}},
		{text: "start", want: host.ReadStart{At: host.ReadEarliest}},
		{text: "7", want: host.ReadStart{At: host.ReadOffset, Offset: 7}},
		{text: "-7", want: host.ReadStart{At: host.ReadLast, Offset: 7}},
		{text: "@-15m", want: at(now.Add(-15 * time.Minute))},
		{text: "@2026-01-30", want: at(now.Add(-36 * time.Hour))},
		{text: "@2026-01-31T13:00:00+02:00", want: at(now.Add(-time.Hour))},
		{text: "@2026-01-31T11:00", want: at(now.Add(-time.Hour))},
		{text: "@1769860800000", want: at(now)},
		{text: "@15m", bad: true}, // from now on: nothing is there yet
		{text: "@yesterday", bad: true},
		{text: "@", bad: true},
		{text: "seven", bad: true},
		{text: "7", group: true, bad: true},
		{text: "@-15m", group: true, bad: true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%q group=%v", tt.text, tt.group), func(t *testing.T) {
			got, err := parseOffset(tt.text, tt.group, now)
			if (err != nil) != tt.bad {
				t.Fatalf("error %v", err)
			}
			if err == nil && (got.At != tt.want.At || got.Offset != tt.want.Offset || !got.Time.Equal(tt.want.Time)) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestConsumeByTime reads what is younger than a moment that lies between two
// sends, by the timestamps that the records carry.
func TestConsumeByTime(t *testing.T) {
	addr := startBroker(t, "--topic", "orders", "--partitions", "1")
	in := `{"value":"old","timestamp":1769860800000}
{"value":"new","timestamp":1769860900000}
`
	klammIn(t, strings.NewReader(in), "produce", "orders", "-b", addr, "-i", "json").want(t, exitOK)
	for offset, want := range map[string]string{
		"@1769860800000":       "old\nnew\n",
		"@2026-01-31T12:00:01": "new\n",
		"@-1m":                 "",
	} {
		r := klammRun(t, "consume", "orders", "-b", addr, "--offset", offset, "--exit-at-end").want(t, exitOK)
		if r.out != want {
			t.Errorf("%s: got %q, want %q", offset, r.out, want)
		}
	}
}
