package config

import (
	"fmt"
	"maps"
	"slices"
)

// A pipeline with rekey = true is two: one copies the input into a topic of its
// own, partitioned by the id of dedup, and the pipeline itself reads that. Both are
// exactly once.

// RekeyTopic is the topic between the two.
func (c *Config) RekeyTopic(pipeline string) string { return "klamm-rekey-" + pipeline }

// RekeyStage is the name of the pipeline that fills it.
func RekeyStage(pipeline string) string { return pipeline + "-rekey" }

// Stages returns the pipelines that run, by name: each of the configuration, and
// what fills the topics of those with rekey.
func (c *Config) Stages() map[string]Pipeline {
	all := maps.Clone(c.Pipeline)
	for name, p := range c.Pipeline {
		if !p.Rekey {
			continue
		}
		group := p.GroupID
		if group == "" {
			group = name
		}
		all[RekeyStage(name)] = Pipeline{
			From: p.From, To: c.RekeyTopic(name), GroupID: group + "-rekey", Guarantee: ExactlyOnce,
			CommitInterval: p.CommitInterval, TransactionTimeout: p.TransactionTimeout, StopAtEnd: p.StopAtEnd,
		}
		p.From = []string{c.RekeyTopic(name)}
		all[name] = p
	}
	return all
}

// RekeyID is what a pipeline with rekey is partitioned by: the id of the bundled
// dedup that keeps its ids in Kafka.
func (c *Config) RekeyID(pipeline string) []string {
	plugins := c.rekeyPlugins(pipeline)
	if len(plugins) == 0 {
		return nil
	}
	if parts := idParts(c.Plugin[plugins[0]].Config["id"]); len(parts) > 0 {
		return parts
	}
	return []string{"key"}
}

// rekeyPlugins are those of the pipeline's chain that keep ids in Kafka.
func (c *Config) rekeyPlugins(pipeline string) []string {
	chain, ok := c.PipelineChain(pipeline)
	if !ok {
		return nil
	}
	return slices.DeleteFunc(c.chainPlugins(chain), func(p string) bool { return c.State[c.Plugin[p].State].Backend != "kafka" })
}

// rekey checks a pipeline that is to be partitioned by an id.
func (k *checker) rekey(name string, p Pipeline) {
	if !p.Rekey {
		return
	}
	at := path("pipeline", name, "rekey")
	plugins := k.rekeyPlugins(name)
	switch {
	case len(plugins) == 0:
		k.fail(at, fmt.Sprintf("pipeline %q is to be partitioned by an id, and no plugin of its chain keeps ids in Kafka", name), `list a dedup whose state has backend = "kafka", or take rekey away`)
	case len(plugins) > 1:
		k.fail(at, fmt.Sprintf("pipeline %q can be partitioned by one id, and plugins %q and %q each have theirs", name, plugins[0], plugins[1]), "give one of them another backend, or a pipeline of its own")
	case k.Plugin[plugins[0]].Module != "builtin:dedup":
		k.fail(at, fmt.Sprintf("pipeline %q: what plugin %q takes for the id is known of builtin:dedup alone", name, plugins[0]), `have the input partitioned by it before, and set partitioned_by_id = true in the state`)
	}
	if _, taken := k.Pipeline[RekeyStage(name)]; taken {
		k.fail(path("pipeline", RekeyStage(name)), fmt.Sprintf("pipeline %q is what rekey makes of %q", RekeyStage(name), name), "give it another name")
	}
	for _, other := range sortedKeys(k.Pipeline) {
		if o := k.Pipeline[other]; contains(append([]string{o.To, o.DeadLetterTopic}, o.From...), k.RekeyTopic(name)) {
			k.fail(at, fmt.Sprintf("topic %q is that of pipeline %q between its two halves, and pipeline %q uses it", k.RekeyTopic(name), name, other), "rename one of them")
		}
	}
}
