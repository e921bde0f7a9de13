package config

import (
	"fmt"
	"slices"
)

// State is one [state.NAME]: what the host remembers for plugins.
type State struct {
	Backend    string `toml:"backend"`     // memory, file, redis or kafka
	MaxEntries int    `toml:"max_entries"` // the oldest go beyond it; default 1,000,000
	MaxBytes   Size   `toml:"max_bytes"`   // of values put by plugins; default 64MiB
	Scope      string `toml:"scope"`       // topic (default) or state
	Clock      string `toml:"clock"`       // record or arrival; "" is that of StateClock

	Path          string   `toml:"path"`           // of the file
	SyncInterval  Duration `toml:"sync_interval"`  // between syncs of the file; default 1s
	OnUnavailable string   `toml:"on_unavailable"` // fail (default) or pass
	URL           Secret   `toml:"url"`            // of Redis; it may hold a password
	Timeout       Duration `toml:"timeout"`        // of a round trip to Redis; default 250ms
	Lease         Duration `toml:"lease"`          // of a host that is gone; default 10s

	Topic       string `toml:"topic"`              // in Kafka; "" is klamm-state-NAME
	Replication int    `toml:"replication_factor"` // of a topic that is made; 0 is the brokers' default
	// PartitionedByID says that copies with one id are always in the same partition
	// of the input, although the id is not the key.
	PartitionedByID bool `toml:"partitioned_by_id"`
}

func defaultState() State {
	return State{
		Backend: "memory", MaxEntries: 1_000_000, MaxBytes: 64 << 20, Scope: "topic",
		SyncInterval: seconds(1), OnUnavailable: "fail", Timeout: millis(250), Lease: seconds(10),
	}
}

// StateClock returns the clock that the ids of a state live by: "record" or
// "arrival". Where the configuration does not say, it is the record's for a
// state that a pipeline's chain uses, so that reading again gives the same
// result, else the arrival's.
func (c *Config) StateClock(name string) string {
	if clock := c.State[name].Clock; clock != "" {
		return clock
	}
	for pipeline := range c.Pipeline {
		chain, ok := c.PipelineChain(pipeline)
		if ok && slices.ContainsFunc(c.chainPlugins(chain), func(p string) bool { return c.Plugin[p].State == name }) {
			return "record"
		}
	}
	return "arrival"
}

// chainPlugins are the plugins of a chain that judge records.
func (c *Config) chainPlugins(chain string) []string {
	ch := c.Chain[chain]
	return slices.Concat(ch.OnSend, ch.OnConsume)
}

func (k *checker) states() {
	for _, name := range sortedKeys(k.State) {
		s, at := k.State[name], func(key string) []string { return path("state", name, key) }
		k.oneOf(at("backend"), s.Backend, "memory", "file", "redis", "kafka")
		between(k, at("max_entries"), s.MaxEntries, 1, 1<<30)
		between(k, at("max_bytes"), s.MaxBytes, 0, 1<<40)
		k.oneOf(at("scope"), s.Scope, "topic", "state")
		if s.Clock != "" {
			k.oneOf(at("clock"), s.Clock, "record", "arrival")
		}
		between(k, at("sync_interval"), s.SyncInterval, 0, seconds(3600))
		k.oneOf(at("on_unavailable"), s.OnUnavailable, "fail", "pass")
		between(k, at("timeout"), s.Timeout, millis(1), seconds(60))
		between(k, at("lease"), s.Lease, seconds(1), seconds(3600))
		k.stateFile(name, s)
		k.stateURL(name, s)
		k.stateKafka(name, s)
	}
}

// stateFile checks that a file, and only that, has a path, and one of its own.
func (k *checker) stateFile(name string, s State) {
	at := path("state", name, "path")
	switch {
	case s.Backend == "file" && s.Path == "":
		k.problems.missing(path("state", name), "path", fmt.Sprintf("state %q is in a file and has no path", name), `set path to the file's name, as in path = "`+name+`.state"`)
	case s.Backend != "file" && s.Path != "":
		k.fail(at, fmt.Sprintf("state %q has a path, and its backend is %q", name, s.Backend), `set backend = "file", or take the path away`)
	}
	for _, other := range sortedKeys(k.State) {
		if o := k.State[other]; other < name && s.Path != "" && o.Path == s.Path {
			k.fail(at, fmt.Sprintf("states %q and %q are in one file", other, name), "give each a file of its own")
		}
	}
}

// stateURL checks that Redis, and only that, has an address.
func (k *checker) stateURL(name string, s State) {
	switch url := s.URL.Reveal(); {
	case s.Backend == "redis" && url == "":
		k.problems.missing(path("state", name), "url", fmt.Sprintf("state %q is in Redis and has no url", name), `set url, as in url = "redis://127.0.0.1:6379/0"`)
	case s.Backend != "redis" && url != "":
		k.fail(path("state", name, "url"), fmt.Sprintf("state %q has a url, and its backend is %q", name, s.Backend), `set backend = "redis", or take the url away`)
	}
}
