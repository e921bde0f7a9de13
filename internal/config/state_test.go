package config

import "testing"

// The ids of a state live by the records' clock where a pipeline uses them.
func TestStateClock(t *testing.T) {
	const text = `
[plugin.a]
module = "builtin:dedup"
state = "copied"
[plugin.b]
module = "builtin:dedup"
state = "sent"
[plugin.c]
module = "builtin:dedup"
state = "chosen"
[chain.clean]
topics = ["clean"]
on_send = ["a"]
on_consume = ["c"]
[chain.orders]
topics = ["orders"]
on_send = ["b"]
[pipeline.p]
from = ["raw"]
to = "clean"
[state.copied]
[state.sent]
[state.chosen]
clock = "arrival"
[state.unused]
clock = "record"
`
	cfg, problems := Parse("c.toml", []byte(text), Options{})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"copied": "record", "sent": "arrival", "chosen": "arrival", "unused": "record"} {
		if got := cfg.StateClock(name); got != want {
			t.Errorf("state %q: got %q, want %q", name, got, want)
		}
	}
}
