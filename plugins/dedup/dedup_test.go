package dedup_test

import (
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/plugins/dedup"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/sdk/plugintest"
)

var (
	pass      = plugintest.Want{}
	duplicate = plugintest.Want{Verdict: abi.Drop, Reason: "duplicate"}
)

type table = map[string]any

func at(minute int, key string) klamm.Record {
	r := klamm.Record{Timestamp: time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC)}
	if key != "" {
		r.Key = []byte(key)
	}
	return r
}

func value(v string) klamm.Record { return klamm.Record{Key: []byte("k"), Value: []byte(v)} }

func TestDedup(t *testing.T) {
	missing := func(v abi.Code) plugintest.Want { return plugintest.Want{Verdict: v, Reason: "missing"} }
	plugintest.Run(t, "builtin:dedup", []plugintest.Case{
		{
			Name:        "the second of a key is dropped, until the window is over",
			Records:     []klamm.Record{at(0, "a"), at(1, "b"), at(2, "a"), at(9, "a"), at(10, "a"), at(11, "a")},
			Want:        []plugintest.Want{pass, pass, duplicate, duplicate, pass, duplicate},
			WantMetrics: map[string]int64{"dedup_dropped_total": 3, "dedup_missing_total": 0},
		},
		{
			Name:    "a shorter window, on_consume",
			Hook:    abi.OnConsume,
			Config:  table{"window": "90s"},
			Records: []klamm.Record{at(0, "a"), at(1, "a"), at(2, "a")},
			Want:    []plugintest.Want{pass, duplicate, pass},
		},
		{
			Name:     "a duplicate of a record in flight is dropped too",
			InFlight: true,
			Records:  []klamm.Record{at(0, "a"), at(0, "a")},
			Want:     []plugintest.Want{pass, duplicate},
		},
		{
			Name:    "a header is the id, its last value counts",
			Config:  table{"id": "header:message-id"},
			Records: []klamm.Record{header("1", "2"), header("2"), header("1"), header("2", "1")},
			Want:    []plugintest.Want{pass, duplicate, pass, duplicate},
		},
		{
			Name:   "a revision is another id",
			Config: table{"id": []string{"json:id", "json:properties.updated"}},
			Records: []klamm.Record{
				value(`{"id":"x","properties":{"updated":1}}`),
				value(`{"properties":{"updated":1},"id":"x"}`),
				value(`{"id":"x","properties":{"updated":2}}`),
				value(`{"id":"\u0078","properties":{"updated":2}}`),
			},
			Want: []plugintest.Want{pass, duplicate, pass, duplicate},
		},
		{
			Name:    "parts of an id do not run into each other",
			Config:  table{"id": []string{"json:a", "json:b"}},
			Records: []klamm.Record{value(`{"a":"x","b":"yz"}`), value(`{"a":"xy","b":"z"}`), value(`{"a":"x","b":"yz"}`)},
			Want:    []plugintest.Want{pass, pass, duplicate},
		},
		{
			Name:    "the number 1 is not the string 1",
			Config:  table{"id": "json:id"},
			Records: []klamm.Record{value(`{"id":1}`), value(`{"id":"1"}`), value(`{"id":1}`), value(`{"id":"1"}`)},
			Want:    []plugintest.Want{pass, pass, duplicate, duplicate},
		},
		{
			Name:        "without an id a record fails",
			Records:     []klamm.Record{at(0, ""), at(0, "a")},
			Want:        []plugintest.Want{missing(abi.Fail), pass},
			WantMetrics: map[string]int64{"dedup_missing_total": 1},
		},
		{
			Name:    "on_missing = pass",
			Config:  table{"on_missing": "pass", "id": "header:message-id"},
			Records: []klamm.Record{at(0, "a"), at(0, "a")},
			Want:    []plugintest.Want{pass, pass},
		},
		{
			Name:    "on_missing = drop",
			Config:  table{"on_missing": "drop"},
			Records: []klamm.Record{at(0, "")},
			Want:    []plugintest.Want{missing(abi.Drop)},
		},
		{
			Name:    "on_missing = dead_letter, for a null and for what is no JSON",
			Config:  table{"on_missing": "dead_letter", "id": "json:id"},
			Records: []klamm.Record{value(`{"id":null}`), value(`{"id":`), at(0, "a"), value(`{"id":0}`)},
			Want: []plugintest.Want{
				{Verdict: abi.DeadLetter, Reason: "missing", Text: "json:id is missing or null"},
				{Verdict: abi.DeadLetter, Reason: "invalid", Text: "not JSON at byte 6"},
				missing(abi.DeadLetter),
				pass,
			},
		},
	}, plugintest.Native(dedup.Register))
}

// TestC041_PluginsOwnKeys: a plugin's own table reaches it, and what is wrong with
// it is told in the plugin's own words.
func TestC041_PluginsOwnKeys(t *testing.T) {
	plugintest.Run(t, "builtin:dedup", []plugintest.Case{
		{
			Name:    "both keys reach the plugin",
			Config:  table{"id": "header:message-id", "on_missing": "drop"},
			Records: []klamm.Record{at(0, "a"), header("1")},
			Want:    []plugintest.Want{{Verdict: abi.Drop, Reason: "missing"}, pass},
		},
		{
			Name:     "an unknown key of the configuration",
			Config:   table{"windw": "1h"},
			WantInit: `unknown config key "windw"; did you mean "window"?`,
		},
		{
			Name:     "a source that is none",
			Config:   table{"id": []string{"headr:x"}},
			WantInit: `config key "id": "headr:x" is none of "key", "header:NAME", "json:PATH"`,
		},
		{
			Name:     "a window below zero",
			Config:   table{"window": "-1s"},
			WantInit: `config key "window": must not be negative`,
		},
	}, plugintest.Native(dedup.Register))
}

func header(values ...string) klamm.Record {
	r := klamm.Record{Value: []byte("v")}
	for _, v := range values {
		r.Headers = append(r.Headers, klamm.Header{Key: "message-id", Value: []byte(v)})
	}
	return r
}

func TestReadme(t *testing.T) {
	plugintest.Readme(t, "builtin:dedup", "README.md", plugintest.Case{})
}
