package host

import (
	"fmt"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

// The same id is in the same partition, however it is written; ids are spread.
func TestRekeyingPartitions(t *testing.T) {
	header := func(vs ...string) (hs []klamm.Header) {
		for _, v := range vs {
			hs = append(hs, klamm.Header{Key: "id", Value: []byte(v)})
		}
		return hs
	}
	for _, row := range []struct {
		name string
		id   []string
		a, b klamm.Record
		same bool
	}{
		{"the last header counts", []string{"header:id"}, klamm.Record{Headers: header("x", "a")}, klamm.Record{Headers: header("y", "a"), Key: []byte("k")}, true},
		{"an escaped string", []string{"json:id"}, klamm.Record{Value: []byte(`{"id":"aé"}`)}, klamm.Record{Value: []byte(`{"x":1,"id":"\u0061\u00e9"}`)}, true},
		{"the last member counts", []string{"json:id"}, klamm.Record{Value: []byte(`{"id":1,"id":2}`)}, klamm.Record{Value: []byte(`{"id":2}`)}, true},
		{"no JSON", []string{"json:id"}, klamm.Record{Value: []byte(`{`)}, klamm.Record{}, true},
		{"number and string", []string{"json:id"}, klamm.Record{Value: []byte(`{"id":1}`)}, klamm.Record{Value: []byte(`{"id":"1"}`)}, false},
		{"where a part ends", []string{"key", "header:id"}, klamm.Record{Key: []byte("ab"), Headers: header("c")}, klamm.Record{Key: []byte("a"), Headers: header("bc")}, false},
	} {
		r, err := newRekeying(row.id, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.partition(&row.a) == r.partition(&row.b); got != row.same {
			t.Errorf("%s: the same partition %v, want %v", row.name, got, row.same)
		}
	}
	r, _ := newRekeying([]string{"key"}, 7)
	var n [7]int
	for i := range 70_000 {
		n[r.partition(&klamm.Record{Key: fmt.Append(nil, i)})]++
	}
	for p, got := range n {
		if got < 9_000 || got > 11_000 {
			t.Errorf("partition %d has %d of 70,000 ids", p, got)
		}
	}
}

// No plugin may send records into what is between two halves, or where ids and
// dead letters are.
func TestRefusedTopics(t *testing.T) {
	h := &Host{cfg: config.Config{
		Pipeline: map[string]config.Pipeline{"p": {Rekey: true, DeadLetterTopic: "dead"}, "q": {}},
		State:    map[string]config.State{"ids": {Backend: "kafka"}, "others": {}},
	}}
	for topic, want := range map[string]bool{
		"klamm-rekey-p": true, "klamm-rekey-q": false, "klamm-state-ids": true, "klamm-state-others": false, "dead": true, "orders": false,
	} {
		if got := h.refusedTopic(topic); got != want {
			t.Errorf("%s: refused %v, want %v", topic, got, want)
		}
	}
}
