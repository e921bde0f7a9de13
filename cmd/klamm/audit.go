package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/config"
)

// audit is how safe records are by what the brokers and the configuration say
// together: `check --connect`. Each finding says what can be lost until it is
// mended, and what to change.
type audit struct {
	cfg      *config.Config
	problems *config.Problems
}

// askDurability asks the brokers about the topics in use and adds what it finds
// as warnings.
func (c *checkRun) askDurability(ctx context.Context, h *host.Host, uses []topicUse) error {
	var names []string
	for _, use := range uses {
		if !slices.Contains(names, use.topic) {
			names = append(names, use.topic)
		}
	}
	topics, err := h.Durability(ctx, names...)
	a := audit{c.cfg, c.problems}
	a.topics(uses, topics)
	return err
}

// topics applies every rule. A topic that is used twice is judged where it is
// named first.
func (a *audit) topics(uses []topicUse, topics []host.TopicDurability) {
	a.acks()
	read := readTopics(a.cfg)
	for _, t := range topics {
		first := slices.IndexFunc(uses, func(u topicUse) bool { return u.topic == t.Name })
		a.replicas(uses[first], t)
		if in, ok := read[t.Name]; ok {
			a.retention(in, t)
		}
	}
	a.isolation()
}

func (a *audit) warn(path []string, do, format string, args ...any) {
	a.problems.Add(path, config.Warning, fmt.Sprintf(format, args...), do)
}

func (a *audit) acks() {
	if acks := a.cfg.Producer.Acks; acks >= 0 {
		a.warn([]string{"producer", "acks"}, `acks = "all"`,
			"acks = %d: a record that was acknowledged is lost when its leader dies before the others have it", acks)
	}
}

// replicas judges one topic. What is not known is not judged.
func (a *audit) replicas(use topicUse, t host.TopicDurability) {
	min, known := number(t, "min.insync.replicas")
	switch {
	case t.Replicas == 1:
		a.warn(use.path, "give it 3 replicas: kafka-reassign-partitions",
			"topic %q has one replica: a broken disk loses acknowledged records, and a broker that is down stops the topic", t.Name)
	case known && min < 2:
		a.warn(use.path, fmt.Sprintf("kafka-configs --alter --topic %s --add-config min.insync.replicas=2", t.Name),
			"topic %q has min.insync.replicas = %d: with acks = all an acknowledged record may be on one broker alone, and is lost with it", t.Name, min)
	case known && int(min) >= t.Replicas:
		a.warn(use.path, fmt.Sprintf("min.insync.replicas = %d, or one replica more", t.Replicas-1),
			"topic %q has %d replicas and min.insync.replicas = %d: one broker that is down stops all writes to it", t.Name, t.Replicas, min)
	}
	if t.InSync < t.Replicas {
		a.warn(use.path, "look after the brokers: kafka-topics --describe --under-replicated-partitions",
			"topic %q has a partition with %d of %d replicas in sync now", t.Name, t.InSync, t.Replicas)
	}
	if t.Settings["unclean.leader.election.enable"] == "true" {
		a.warn(use.path, fmt.Sprintf("kafka-configs --alter --topic %s --add-config unclean.leader.election.enable=false", t.Name),
			"topic %q has unclean.leader.election.enable: a broker that lags behind may become leader, and acknowledged records are gone", t.Name)
	}
}

// readTopic is a topic that a pipeline reads.
type readTopic struct {
	pipeline string
	window   time.Duration // of a dedup plugin in its chain; 0: none
	plugin   string
}

func readTopics(cfg *config.Config) map[string]readTopic {
	read := map[string]readTopic{}
	for _, name := range sortedKeys(cfg.Pipeline) {
		in := readTopic{pipeline: name}
		in.plugin, in.window = dedupWindow(cfg, name)
		for _, topic := range cfg.Pipeline[name].From {
			read[topic] = in
		}
	}
	return read
}

// dedupWindow finds the longest window that a plugin of the pipeline's chain has
// been given; the bundled dedup calls it so.
func dedupWindow(cfg *config.Config, pipeline string) (plugin string, window time.Duration) {
	name, ok := cfg.PipelineChain(pipeline)
	if !ok {
		return "", 0
	}
	chain := cfg.Chain[name]
	for _, list := range [][]string{chain.OnSend, chain.OnConsume} {
		for _, p := range list {
			text, _ := cfg.Plugin[p].Config["window"].(string)
			if d, err := time.ParseDuration(text); err == nil && d > window {
				plugin, window = p, d
			}
		}
	}
	return plugin, window
}

// retention judges a topic that is read: what a pipeline that stands still may
// miss, and what it cannot know again.
func (a *audit) retention(in readTopic, t host.TopicDurability) {
	ms, known := number(t, "retention.ms")
	if !known || ms < 0 || t.Settings["cleanup.policy"] == "compact" {
		return
	}
	keeps := time.Duration(ms) * time.Millisecond
	path := []string{"pipeline", in.pipeline, "from"}
	if in.window > keeps {
		a.warn(path, fmt.Sprintf("retention.ms of at least %d, or a shorter window", in.window.Milliseconds()),
			"topic %q keeps records for %v, plugin %q remembers ids for %v: a duplicate of a record that is gone is still dropped, and ids that a state loses cannot be read again",
			t.Name, keeps, in.plugin, in.window)
	}
	if keeps < 24*time.Hour {
		a.warn(path, fmt.Sprintf("kafka-configs --alter --topic %s --add-config retention.ms=604800000", t.Name),
			"topic %q keeps records for %v: a pipeline that stands still for longer loses what it has not read", t.Name, keeps)
	}
}

// isolation warns of readers that see what was never committed.
func (a *audit) isolation() {
	if a.cfg.Consumer.IsolationLevel == "read_uncommitted" && len(a.cfg.Pipeline) > 0 {
		a.warn([]string{"consumer", "isolation_level"}, `isolation_level = "read_committed"`,
			"isolation_level = read_uncommitted: pipelines copy records of transactions that are aborted later")
	}
}

// number is a setting of a topic; ok is false where it is not known.
func number(t host.TopicDurability, name string) (n int64, ok bool) {
	n, err := strconv.ParseInt(t.Settings[name], 10, 64)
	return n, err == nil
}

// noAudit says why there is none, as a warning: whoever may produce need not be
// allowed to look at settings.
func (c *checkRun) noAudit(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	c.problems.Add([]string{"cluster"}, config.Warning, fmt.Sprintf("how durable the topics are could not be asked: %v", err),
		"allow DescribeConfigs on the topics")
}
