package plugintest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/sdk/plugintest"
)

// TestGuestFromTheDocs runs a guest that was written from docs/abi.md alone
// through every hook: what that text does not say, it would get wrong.
func TestGuestFromTheDocs(t *testing.T) {
	by := func(value []byte) *klamm.Record {
		return &klamm.Record{Value: value, Headers: []klamm.Header{{Key: "by", Value: []byte("plugin")}}}
	}
	keyed := func(key string, value []byte) klamm.Record { return klamm.Record{Key: []byte(key), Value: value} }
	edited := func(key string, value []byte) plugintest.Want {
		r := by(bytes.Repeat(value, 2))
		if value == nil {
			r.Value = nil
		}
		r.Key = []byte(key)
		return plugintest.Want{Verdict: abi.Edit, Record: r}
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 70<<10) // larger than a block
	some := bytes.Repeat([]byte("x"), 30_000)
	judged := func(hook abi.Hook) plugintest.Case {
		return plugintest.Case{
			Name: hook.String(), Hook: hook,
			Records: []klamm.Record{
				keyed("a", []byte("v")), {Value: []byte("v")}, keyed("a", nil), keyed("b", nil), keyed("", []byte{}), keyed("c", []byte("bad one")),
			},
			Want: []plugintest.Want{
				edited("a", []byte("v")), {Verdict: abi.DeadLetter, Reason: "missing", Text: "no key"}, {Verdict: abi.Drop, Reason: "duplicate"},
				edited("b", nil), edited("", []byte{}), {Verdict: abi.Fail, Reason: "raw_bad", Text: "a bad value"},
			},
			WantState: map[string]string{"last": ""},
		}
	}
	full := plugintest.Case{Name: "more than the area holds, and more than a block"}
	for _, key := range strings.Split("a b c d e f", " ") {
		full.Records, full.Want = append(full.Records, keyed(key, some)), append(full.Want, edited(key, some))
	}
	full.Records, full.Want = append(full.Records, keyed("g", large)), append(full.Want, edited("g", large))
	plugintest.Run(t, "testdata/raw/raw.wasm", []plugintest.Case{
		judged(abi.OnSend), judged(abi.OnConsume), full,
		{
			Name: "partition", Hook: abi.Partition,
			Facts:   map[string]plugintest.Facts{plugintest.DefaultTopic: {Partitions: 3}, "other": {Partitions: 2}},
			Records: []klamm.Record{keyed("", nil), keyed("abcd", nil), {}, {Topic: "other", Key: []byte("abc")}},
			Want: []plugintest.Want{
				{Verdict: abi.Route}, {Verdict: abi.Route, Partition: 1}, {}, {Verdict: abi.Route, Partition: 1},
			},
		},
		{
			Name: "acknowledgements", Hook: abi.OnAcknowledgement,
			Records: []klamm.Record{{}, {}, {}}, Acks: []plugintest.Ack{{}, {Error: 7}, {Error: -1}},
			WantMetrics: map[string]int64{"raw_failed_total": 2, "raw_latency_us": 3},
		},
		{
			Name: "commits", Hook: abi.OnCommit, Records: []klamm.Record{{}, {}},
			WantMetrics: map[string]int64{"raw_committed_total": 2},
		},
	})
}

// TestExamplesOfTheDocs compares the examples in docs/abi.md with what is tested.
func TestExamplesOfTheDocs(t *testing.T) {
	docs, err := os.ReadFile("../../docs/abi.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"keyless.wat", "keyless.c"} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(docs), string(text)) {
			t.Errorf("docs/abi.md does not show testdata/%s as it is", file)
		}
	}
}
