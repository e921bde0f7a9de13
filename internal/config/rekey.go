package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// A pipeline with rekey = true is two: one copies the input into a topic of its
// own, partitioned by the id of dedup, and the pipeline itself reads that. Both are
// exactly once.

// RekeyTopic is the topic between the two.
func (c *Config) RekeyTopic(pipeline string) string { return "klamm-rekey-" + pipeline }

// RekeyStage is the name of the pipeline that fills it.
func RekeyStage(pipeline string) string { return pipeline + "-rekey" }

// rekeyGroup is the group of that pipeline.
func (p *Pipeline) rekeyGroup(name string) string { return cmp.Or(p.GroupID, name) + "-rekey" }

// Stages returns the pipelines that run, by name: each of the configuration, and
// what fills the topics of those with rekey.
func (c *Config) Stages() map[string]Pipeline {
	all := maps.Clone(c.Pipeline)
	for name, p := range c.Pipeline {
		if !p.Rekey {
			continue
		}
		all[RekeyStage(name)] = Pipeline{
			From: p.From, To: c.RekeyTopic(name), GroupID: p.rekeyGroup(name), Guarantee: ExactlyOnce,
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
		k.fail(at, fmt.Sprintf("pipeline %q: the host partitions by the id itself, and of plugin %q, which is not builtin:dedup, it does not know what the id is", name, plugins[0]),
			`use builtin:dedup; or take rekey away, have whoever writes the input partition it by the id, and set partitioned_by_id = true in the state`)
	}
	if _, taken := k.Pipeline[RekeyStage(name)]; taken {
		k.fail(path("pipeline", RekeyStage(name)), fmt.Sprintf("pipeline %q is what rekey makes of %q", RekeyStage(name), name), "give it another name")
	}
	k.rekeyTopic(name, at)
	k.rekeyGroup(name, p, at)
}

// rekeyTopic holds the topic between the two halves against all others that the
// configuration names: none may be written or read by anybody else.
func (k *checker) rekeyTopic(name string, at []string) {
	topic := k.RekeyTopic(name)
	k.topicName(at, topic)
	clash := func(at []string, who string) {
		k.fail(at, fmt.Sprintf("topic %q is that of pipeline %q between its two halves (rekey), and %s uses it", topic, name, who), "name another topic, or rename the pipeline")
	}
	for _, other := range sortedKeys(k.Pipeline) {
		o := k.Pipeline[other]
		who := fmt.Sprintf("pipeline %q", other)
		for i, from := range o.From {
			if from == topic {
				clash(path("pipeline", other, "from", strconv.Itoa(i)), who)
			}
		}
		if o.To == topic {
			clash(path("pipeline", other, "to"), who)
		}
		if o.DeadLetterTopic == topic {
			clash(path("pipeline", other, "dead_letter_topic"), who)
		}
	}
	for _, state := range sortedKeys(k.State) {
		if k.State[state].Backend == "kafka" && k.StateTopic(state) == topic {
			clash(path("state", state, "topic"), fmt.Sprintf("state %q", state))
		}
	}
	for _, chain := range sortedKeys(k.Chain) {
		if k.Chain[chain].DeadLetterTopic == topic {
			clash(path("chain", chain, "dead_letter_topic"), fmt.Sprintf("chain %q", chain))
		}
	}
	for _, plugin := range sortedKeys(k.Plugin) {
		if k.Plugin[plugin].DeadLetterTopic == topic {
			clash(path("plugin", plugin, "dead_letter_topic"), fmt.Sprintf("plugin %q", plugin))
		}
	}
}

// rekeyGroup holds the group of the first half against all others: in a group
// each member reads a part of the partitions.
func (k *checker) rekeyGroup(name string, p Pipeline, at []string) {
	group := p.rekeyGroup(name)
	if k.Consumer.GroupID == group {
		k.fail(path("consumer", "group_id"), fmt.Sprintf("group %q is that of pipeline %q's first half (rekey), and [consumer] has it too: each would read a part of the partitions", group, name), "give one of them another group_id")
	}
	for _, other := range sortedKeys(k.Pipeline) {
		o := k.Pipeline[other]
		place := path("pipeline", other, "group_id")
		switch {
		case other == RekeyStage(name): // is told already
		case cmp.Or(o.GroupID, other) == group:
			k.fail(place, fmt.Sprintf("group %q is that of pipeline %q's first half (rekey), and pipeline %q has it too: each would read a part of the partitions", group, name, other), "give one of them another group_id")
		case other < name && o.Rekey && o.rekeyGroup(other) == group:
			k.fail(at, fmt.Sprintf("group %q would be that of the first halves of pipelines %q and %q (rekey): each would read a part of the partitions", group, other, name), "give each a group_id of its own")
		}
	}
}
