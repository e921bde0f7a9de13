package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/klamm-io/klamm/host"
)

// parseOffset reads --offset. A negative number counts from the end, a time from
// its @.
func parseOffset(text string, group bool, now time.Time) (host.ReadStart, error) {
	switch {
	case text == "start", text == "" && group:
		return host.ReadStart{At: host.ReadEarliest}, nil
	case text == "end", text == "":
		return host.ReadStart{At: host.ReadLatest}, nil
	case group:
		return host.ReadStart{}, usagef("--offset %s does not go with --group: a group starts where it has committed, or at start or end", text)
	case strings.HasPrefix(text, "@"):
		at, err := parseTime(text[1:], now)
		return host.ReadStart{At: host.ReadTime, Time: at}, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return host.ReadStart{}, usagef("--offset %q: it is start, end, N, -N, or @TIME", text)
	}
	if n < 0 {
		return host.ReadStart{At: host.ReadLast, Offset: -n}, nil
	}
	return host.ReadStart{At: host.ReadOffset, Offset: n}, nil
}

// parseTime reads what is behind the @: how long ago, a day or a moment (UTC
// unless it says otherwise), or milliseconds since 1970 as in a record.
func parseTime(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d < 0 {
		return now.Add(d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms >= 0 {
		return time.UnixMilli(ms), nil
	}
	return time.Time{}, usagef("--offset @%s: it is @-15m (ago), @2026-01-31, @2026-01-31T12:00:00Z, or @MILLISECONDS", text)
}
