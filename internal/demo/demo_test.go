package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
)

func events(t *testing.T) []Event {
	t.Helper()
	es, err := Events()
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func TestEventsAreTheWholeFile(t *testing.T) {
	es := events(t)
	if len(es) != 1707 {
		t.Errorf("got %d events, want 1707", len(es))
	}
	nets := map[string]int{}
	for _, e := range es {
		nets[e.Net]++
	}
	if len(nets) != 12 || nets["ci"] != 386 {
		t.Errorf("got %d networks, %d events of ci; want 12, 386", len(nets), nets["ci"])
	}
}

func TestWithUpdatedChangesNothingElse(t *testing.T) {
	for _, e := range events(t) {
		var got, want map[string]any
		revised := e.withUpdated(e.Updated + 5)
		if err := json.Unmarshal(revised, &got); err != nil {
			t.Fatalf("%s: %v", e.ID, err)
		}
		if err := json.Unmarshal(e.JSON, &want); err != nil {
			t.Fatal(err)
		}
		want["properties"].(map[string]any)["updated"] = float64(e.Updated + 5)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %s", e.ID, revised)
		}
	}
}

// TestFeedRepeatsAndRevises plays two rounds over the file and holds Seen
// against the bytes themselves.
func TestFeedRepeatsAndRevises(t *testing.T) {
	es := events(t)
	f := NewFeed(es, DefaultWindow, DefaultStep, DefaultSeed)
	versions := map[string]bool{}
	ids := map[string]bool{}
	total, revised := 0, 0
	for range 2 * len(es) / DefaultStep {
		for _, it := range f.Poll(nil) {
			total++
			if versions[string(it.Value)] != it.Seen {
				t.Fatalf("%s at %d: Seen = %v", it.ID, it.Updated, it.Seen)
			}
			if ids[it.ID] && !it.Seen {
				revised++
			}
			versions[string(it.Value)], ids[it.ID] = true, true
		}
	}
	if len(ids) < len(es)-DefaultStep {
		t.Errorf("polls returned %d of %d events", len(ids), len(es))
	}
	if share := float64(revised) / float64(total); share < 0.015 || share > 0.035 {
		t.Errorf("%.3f of the items are revisions, want about 1/40", share)
	}
}

func TestFeedIsDeterministic(t *testing.T) {
	es := events(t)
	a, b := NewFeed(es, 50, 10, 7), NewFeed(es, 50, 10, 7)
	other := NewFeed(es, 50, 10, 8)
	differs := false
	for range 100 {
		pa, pb, po := a.Poll(nil), b.Poll(nil), other.Poll(nil)
		for i := range pa {
			if !bytes.Equal(pa[i].Value, pb[i].Value) {
				t.Fatalf("%s: two feeds of one seed differ", pa[i].ID)
			}
			differs = differs || !bytes.Equal(pa[i].Value, po[i].Value)
		}
	}
	if !differs {
		t.Error("another seed gives the same revisions")
	}
}

func TestSecondPollOverlapsTheFirst(t *testing.T) {
	f := NewFeed(events(t), DefaultWindow, DefaultStep, DefaultSeed)
	first, second := f.Poll(nil), f.Poll(nil)
	if got, want := second[0].ID, first[DefaultStep].ID; got != want {
		t.Errorf("second poll starts with %s, want %s", got, want)
	}
	for _, it := range first {
		if it.Seen {
			t.Errorf("%s of the first poll counts as seen", it.ID)
		}
	}
}

func TestIdentify(t *testing.T) {
	e := events(t)[0]
	got, err := Identify(e.withUpdated(42))
	if err != nil || got.ID != e.ID || got.Net != e.Net || got.Updated != 42 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := Identify([]byte("{}")); err == nil {
		t.Error("an event without id is taken")
	}
}

func TestParseEventRefuses(t *testing.T) {
	tests := []struct{ name, line string }{
		{"not JSON", `{`},
		{"no updated", `{"id":"a","properties":{"net":"ci"}}`},
		{"updated twice", `{"id":"a","x":{"updated":1},"properties":{"updated":1}}`},
		{"updated is no number", `{"id":"a","properties":{"updated":"x"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if e, err := parseEvent([]byte(tt.line)); err == nil {
				t.Errorf("got %+v, want an error", e)
			}
		})
	}
}
