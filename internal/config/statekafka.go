package config

import (
	"fmt"
	"slices"
	"strings"
)

// StateTopic is where a state is whose backend is kafka.
func (c *Config) StateTopic(name string) string {
	if topic := c.State[name].Topic; topic != "" {
		return topic
	}
	return "klamm-state-" + name
}

// StatePipelines returns the pipelines whose chains have plugins that keep ids in
// the state, ordered.
func (c *Config) StatePipelines(name string) []string {
	var all []string
	for _, pipeline := range sortedKeys(c.Pipeline) {
		if chain, ok := c.PipelineChain(pipeline); ok && len(c.statePlugins(chain, name)) > 0 {
			all = append(all, pipeline)
		}
	}
	return all
}

// statePlugins are those of a chain that keep their ids in the state.
func (c *Config) statePlugins(chain, state string) []string {
	return slices.DeleteFunc(c.chainPlugins(chain), func(p string) bool { return c.Plugin[p].State != state })
}

// PipelineStates returns the states in Kafka that a pipeline's chain uses,
// ordered.
func (c *Config) PipelineStates(pipeline string) []string {
	var all []string
	for _, name := range sortedKeys(c.State) {
		if c.State[name].Backend == "kafka" && slices.Contains(c.StatePipelines(name), pipeline) {
			all = append(all, name)
		}
	}
	return all
}

// stateKafka checks what ids in Kafka rest on: that they are written in the
// transactions of one pipeline, and that an id is always read from the same
// partition.
func (k *checker) stateKafka(name string, s State) {
	at := func(key string) []string { return path("state", name, key) }
	if s.Backend != "kafka" {
		if s.Topic != "" {
			k.fail(at("topic"), fmt.Sprintf("state %q has a topic, and its backend is %q", name, s.Backend), `set backend = "kafka", or take the topic away`)
		}
		if s.Replication != 0 {
			k.fail(at("replication_factor"), fmt.Sprintf("state %q has a replication factor, and its backend is %q", name, s.Backend), `set backend = "kafka", or take it away`)
		}
		if s.PartitionedByID {
			k.fail(at("partitioned_by_id"), fmt.Sprintf("state %q says how its ids are partitioned, and its backend is %q", name, s.Backend), `set backend = "kafka", or take it away`)
		}
		return
	}
	if s.OnUnavailable == "pass" {
		k.fail(at("on_unavailable"), fmt.Sprintf(`state %q is in Kafka: where it cannot be written, its records are not either, and none can pass`, name), `use "fail", the default`)
	}
	between(k, at("replication_factor"), s.Replication, 0, 1<<15-1)
	topic := k.StateTopic(name)
	k.topicName(at("topic"), topic)
	pipelines := k.StatePipelines(name)
	k.stateUsers(name, pipelines)
	for _, pipeline := range sortedKeys(k.Pipeline) {
		p := k.Pipeline[pipeline]
		if contains(append([]string{p.To, p.DeadLetterTopic}, p.From...), topic) {
			k.fail(at("topic"), fmt.Sprintf("state %q is in topic %q, which pipeline %q uses for records", name, topic, pipeline), "give it a topic of its own")
		}
	}
	for _, pipeline := range pipelines {
		k.statePipeline(name, pipeline, k.Pipeline[pipeline])
	}
	for _, plugin := range sortedKeys(k.Plugin) {
		if k.Plugin[plugin].State == name {
			k.stateID(name, plugin, k.Plugin[plugin])
		}
	}
	for _, other := range sortedKeys(k.State) {
		if other < name && k.State[other].Backend == "kafka" && k.StateTopic(other) == topic {
			k.fail(at("topic"), fmt.Sprintf("states %q and %q are in one topic", other, name), "give each a topic of its own")
		}
	}
}

// stateUsers demands one pipeline. Commands that run no pipelines have none in a
// configuration whose file has.
func (k *checker) stateUsers(name string, pipelines []string) {
	at := path("state", name, "backend")
	switch {
	case len(pipelines) > 1:
		k.fail(at, fmt.Sprintf("state %q is in Kafka, and pipelines %q and %q both use it: its ids belong to the partitions of one input", name, pipelines[0], pipelines[1]), "give each pipeline's plugin a state of its own, and a chain of its own")
	case len(pipelines) == 1, len(k.Pipeline) == 0 && k.Source.Has("pipeline"):
	case slices.ContainsFunc(sortedKeys(k.Plugin), func(p string) bool { return k.Plugin[p].State == name && k.pluginUsed(p) }):
		k.fail(at, fmt.Sprintf("state %q is in Kafka, and no pipeline's chain uses it: its ids are written in the transactions of a pipeline", name), `list its plugin in the chain of a pipeline with guarantee = "exactly_once", or use "file" or "redis", which serve producers and consumers`)
	}
}

func (k *checker) statePipeline(state, name string, p Pipeline) {
	if p.Guarantee != ExactlyOnce {
		what, do := fmt.Sprintf("pipeline %q is %s, and state %q of its chain is in Kafka, written in the transactions of a pipeline that is exactly once", name, p.Guarantee, state), `set guarantee = "exactly_once", or give the state another backend`
		if k.Source.Has("pipeline", name, "guarantee") {
			k.fail(path("pipeline", name, "guarantee"), what, do)
		} else {
			k.problems.missing(path("pipeline", name), "guarantee", what, do)
		}
	}
	key, assignor := "partition_assignment_strategy", string(k.Consumer.Assignor)
	if k.Consumer.GroupProtocol == ConsumerProtocol {
		key, assignor = "group_remote_assignor", k.Consumer.RemoteAssignor
	}
	if len(p.From) > 1 && !p.Rekey && assignor != "range" {
		k.fail(path("pipeline", name, "from"), fmt.Sprintf("pipeline %q reads %d topics, and state %q keeps the ids of their partitions of the same number together: one host must have them all, and %s = %q does not see to that", name, len(p.From), state, key, assignor),
			fmt.Sprintf(`set %s = "range" in [consumer], with equally many partitions in all topics; or rekey = true`, key))
	}
}

// stateID refuses ids that can come from several partitions, as far as the
// configuration shows: those of the bundled dedup.
func (k *checker) stateID(state, name string, p Plugin) {
	if p.OnUnknown == "hold" {
		k.fail(path("plugin", name, "on_unknown"), fmt.Sprintf(`plugin %q: what became of a record is always found out where its ids are in Kafka (state %q), and nothing is held`, name, state), "take on_unknown away")
	}
	if p.Module != "builtin:dedup" || k.State[state].PartitionedByID || k.rekeyed(state) {
		return
	}
	parts := idParts(p.Config["id"])
	if len(parts) == 0 || slices.Contains(parts, "key") {
		return
	}
	k.fail(path("plugin", name, "config", "id"), fmt.Sprintf("plugin %q: copies with the same %s may be in different partitions, and then on different hosts, each with ids of its own in state %q", name, strings.Join(parts, " and "), state),
		`set rekey = true in the pipeline; or, where records are partitioned by the id all the same, partitioned_by_id = true in [state.`+state+`]; or use an id with "key" in it, or backend = "redis"`)
}

// rekeyed reports whether the pipelines of a state partition by its id.
func (k *checker) rekeyed(state string) bool {
	all := k.StatePipelines(state)
	return len(all) > 0 && !slices.ContainsFunc(all, func(p string) bool { return !k.Pipeline[p].Rekey })
}

// idParts are what the bundled dedup makes ids of; none for the default.
func idParts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var parts []string
		for _, part := range v {
			if text, ok := part.(string); ok {
				parts = append(parts, text)
			}
		}
		return parts
	case []string:
		return v
	}
	return nil
}
