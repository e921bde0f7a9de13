// Package demo holds what `klamm demo` sends: real earthquakes, as a client
// sees them that polls the feed again and again.
package demo

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed" // the data is part of the binary: the demo needs no file
	"encoding/json"
	"fmt"
)

//go:embed earthquakes.jsonl.gz
var earthquakes []byte

//go:embed config.toml
var configText string

// Config returns the text of the demo's configuration.
func Config() string { return configText }

// Event is one earthquake as the file has it.
type Event struct {
	ID      string
	Net     string // the seismic network that reported it
	Updated int64  // milliseconds since 1970
	JSON    []byte
	// updatedAt is where in JSON the digits of properties.updated stand.
	updatedAt, updatedEnd int
}

// Events returns the events in the order of their time.
func Events() ([]Event, error) {
	packed, err := gzip.NewReader(bytes.NewReader(earthquakes))
	if err != nil {
		return nil, err
	}
	var events []Event
	lines := bufio.NewScanner(packed)
	for lines.Scan() {
		e, err := parseEvent(bytes.Clone(lines.Bytes()))
		if err != nil {
			return nil, fmt.Errorf("earthquakes.jsonl:%d: %w", len(events)+1, err)
		}
		events = append(events, e)
	}
	return events, lines.Err()
}

func parseEvent(line []byte) (Event, error) {
	e, err := Identify(line)
	if err != nil {
		return Event{}, err
	}
	field := fmt.Appendf(nil, `"updated":%d`, e.Updated)
	at := bytes.Index(line, field)
	if at < 0 || bytes.Count(line, field) != 1 {
		return Event{}, fmt.Errorf("%s does not stand in the line exactly once", field)
	}
	e.updatedEnd = at + len(field)
	e.updatedAt = at + len(`"updated":`)
	return e, nil
}

// Identify reads what the demo needs of an event's JSON.
func Identify(line []byte) (Event, error) {
	var fields struct {
		ID         string
		Properties struct {
			Net     string
			Updated int64
		}
	}
	if err := json.Unmarshal(line, &fields); err != nil {
		return Event{}, fmt.Errorf("an earthquake: %w", err)
	}
	if fields.ID == "" {
		return Event{}, fmt.Errorf("an earthquake without an id: %s", line)
	}
	return Event{ID: fields.ID, Net: fields.Properties.Net, Updated: fields.Properties.Updated, JSON: line}, nil
}

// withUpdated returns the event's JSON with another properties.updated.
func (e *Event) withUpdated(ms int64) []byte {
	if ms == e.Updated {
		return e.JSON
	}
	return fmt.Appendf(nil, "%s%d%s", e.JSON[:e.updatedAt], ms, e.JSON[e.updatedEnd:])
}
