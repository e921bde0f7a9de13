package config

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// grants are what a plugin may be granted; those for state and keyed hashing
// come with state and secrets.
var grants = []string{"log", "metrics", "clock", "random", "state", "hmac"}

func (k *checker) plugins() {
	p := &k.Plugins
	k.limits(path("plugins"), p.Memory, p.Timeout, p.Output)
	between(k, path("plugins", "log_lines_per_second"), p.LogRate, 0, 1_000_000)
	k.trust(p)
	between(k, path("plugins", "breaker", "failures"), p.Breaker.Failures, 1, 1_000_000)
	between(k, path("plugins", "breaker", "window"), p.Breaker.Window, millis(1), seconds(24*3600))
	between(k, path("plugins", "breaker", "cooldown"), p.Breaker.Cooldown, millis(1), seconds(24*3600))
	for _, name := range sortedKeys(k.Plugin) {
		k.plugin(name, k.Plugin[name])
	}
}

// trust demands keys that are keys, and some where signatures are required.
func (k *checker) trust(p *Plugins) {
	for i, text := range p.TrustedKeys {
		if key, err := base64.StdEncoding.DecodeString(text); err != nil || len(key) != ed25519.PublicKeySize {
			k.fail(path("plugins", "trusted_keys", strconv.Itoa(i)), fmt.Sprintf("plugins.trusted_keys: %q is not an ed25519 public key in base64", text), "it is 32 bytes, 44 letters of base64")
		}
	}
	if p.RequireSignature && len(p.TrustedKeys) == 0 {
		k.fail(path("plugins", "require_signature"), "plugins.require_signature without trusted_keys: no module could be loaded", "set trusted_keys in [plugins]")
	}
}

// limits of one plugin or of all.
func (k *checker) limits(table []string, memory Size, timeout Duration, output Size) {
	between(k, join(table, "memory"), memory, 64<<10, 64<<20)
	if memory%(64<<10) != 0 {
		up := (memory/(64<<10) + 1) * (64 << 10)
		k.fail(join(table, "memory"), fmt.Sprintf("%s: %v is not a multiple of WebAssembly's pages of 64KiB", pathName(join(table, "memory")), memory),
			fmt.Sprintf("use %q", up))
	}
	between(k, join(table, "timeout"), timeout, millis(1), seconds(60))
	between(k, join(table, "output"), output, 1<<10, 4<<20)
}

func (k *checker) plugin(name string, p Plugin) {
	at := func(key string) []string { return path("plugin", name, key) }
	k.module(name, p.Module)
	if digest, err := hex.DecodeString(p.SHA256); p.SHA256 != "" && (err != nil || len(digest) != 32) {
		k.fail(at("sha256"), fmt.Sprintf("plugin %q: sha256 is not 64 hexadecimal digits", name), "sha256sum prints it")
	}
	k.ownLimits(name, p)
	k.oneOf(at("on_error"), string(p.OnError), onErrors...)
	k.oneOf(at("on_unknown"), string(p.OnUnknown), onUnknowns...)
	if p.State != "" {
		k.reference(at("state"), fmt.Sprintf("plugin %q", name), "state", p.State, sortedKeys(k.State))
	}
	for i, topic := range p.Topics {
		k.topicPattern(join(at("topics"), strconv.Itoa(i)), topic)
	}
	if p.DeadLetterTopic != "" {
		k.topicName(at("dead_letter_topic"), p.DeadLetterTopic)
	}
	k.grants(name, p)
	k.deadLetterTopicGiven(name, p)
}

// ownLimits checks the limits that a plugin sets. What is wrong with those of
// [plugins] is told there, once.
func (k *checker) ownLimits(name string, p Plugin) {
	p = k.withoutShared(name, p)
	k.limits(path("plugin", name), p.Memory, p.Timeout, p.Output)
}

// withoutShared puts the defaults for the limits that a plugin has from
// [plugins].
func (c *Config) withoutShared(name string, p Plugin) Plugin {
	d := Default().Plugins
	set := func(key string) bool { return c.isSet("plugin", name, key) }
	if p.Memory == c.Plugins.Memory && !set("memory") {
		p.Memory = d.Memory
	}
	if p.Timeout == c.Plugins.Timeout && !set("timeout") {
		p.Timeout = d.Timeout
	}
	if p.Output == c.Plugins.Output && !set("output") {
		p.Output = d.Output
	}
	return p
}

func (k *checker) module(name, module string) {
	scheme, _, _ := strings.Cut(module, "://")
	switch {
	case module == "":
		k.problems.missing(path("plugin", name), "module", fmt.Sprintf("plugin %q has no module", name), k.moduleSuggestion(name))
	case scheme == "oci" || scheme == "http" || scheme == "https":
		k.fail(path("plugin", name, "module"), fmt.Sprintf("plugin %q: modules from %s:// are not in this version", name, scheme), "download it and name the file")
	}
}

// moduleSuggestion thinks of a name that is spelt in two ways, as in
// [plugin.dedup] and [plugin.dedpu.config].
func (k *checker) moduleSuggestion(name string) string {
	others := sortedKeys(k.Plugin)
	others = slices.DeleteFunc(others, func(s string) bool { return s == name })
	if n := nearest(name, others); n != "" {
		return k.didYouMean("plugin", n)
	}
	return `set module to a file, a folder of Go source or "builtin:NAME"`
}

func (k *checker) grants(name string, p Plugin) {
	for i, g := range p.Grants {
		at := path("plugin", name, "grants", strconv.Itoa(i))
		switch {
		case !contains(grants, g):
			e := notOneOf(g, grants)
			k.fail(at, fmt.Sprintf("plugin %q: grants: %s", name, e.what), e.suggestion)
		case g == "state" && p.State == "":
			k.fail(at, fmt.Sprintf("plugin %q is granted state and has none", name), `set state to the name of a [state.NAME]`)
		case g == "hmac" && len(p.Secrets) == 0:
			k.fail(at, fmt.Sprintf("plugin %q is granted hmac and has no secrets", name), fmt.Sprintf("add %s", tableName(path("plugin", name, "secrets"))))
		}
	}
}

// deadLetterTopicGiven demands a topic where a plugin may need one.
func (k *checker) deadLetterTopicGiven(name string, p Plugin) {
	if p.OnError != DeadLetter || p.DeadLetterTopic != "" {
		return
	}
	users := 0
	for _, chain := range sortedKeys(k.Chain) {
		c := k.Chain[chain]
		if !c.lists(name) {
			continue
		}
		if users++; c.DeadLetterTopic == "" && !k.pipelinesHaveDeadLetterTopic(chain) {
			users = 0
			break
		}
	}
	if users == 0 {
		k.fail(path("plugin", name, "on_error"), fmt.Sprintf("plugin %q: on_error = \"dead_letter\" without a topic to write to", name),
			fmt.Sprintf("set dead_letter_topic in %s or in its chain", tableName(path("plugin", name))))
	}
}

// pipelinesHaveDeadLetterTopic reports whether pipelines use the chain and all
// that do name a dead-letter topic.
func (k *checker) pipelinesHaveDeadLetterTopic(chain string) bool {
	users, have := 0, 0
	for name, p := range k.Pipeline {
		if c, _ := k.PipelineChain(name); c == chain {
			users++
			if p.DeadLetterTopic != "" {
				have++
			}
		}
	}
	return users > 0 && users == have
}

// lists reports whether the chain calls the plugin in any hook.
func (c *Chain) lists(plugin string) bool {
	return contains(c.OnSend, plugin) || contains(c.OnAcknowledgement, plugin) || contains(c.OnConsume, plugin) ||
		contains(c.OnCommit, plugin) || c.Partitioner == plugin
}

// reference demands that name is one of those that tables of that kind have.
func (k *checker) reference(at []string, who, kind, name string, names []string) {
	if contains(names, name) || k.problems.unknownIn[""] {
		return // with an unknown table about, that is where the name most likely is
	}
	suggestion := ""
	switch n := nearest(name, names); {
	case n != "":
		suggestion = k.didYouMean(kind, n)
	case len(names) == 0:
		suggestion = fmt.Sprintf("add %s", tableName(path(kind, name)))
	default:
		suggestion = "there are " + quoteList(names)
	}
	k.fail(at, fmt.Sprintf("%s: no %s named %q", who, kind, name), suggestion)
}

// names are those that lists of interceptors may have.
func (k *checker) names() []string { return append(sortedKeys(k.Plugin), k.Natives...) }

func (k *checker) chains() {
	for _, name := range sortedKeys(k.Chain) {
		c := k.Chain[name]
		at := func(key string) []string { return path("chain", name, key) }
		for i, topic := range c.Topics {
			k.topicPattern(join(at("topics"), strconv.Itoa(i)), topic)
		}
		k.hookList(name, "on_send", c.OnSend)
		k.hookList(name, "on_acknowledgement", c.OnAcknowledgement)
		k.hookList(name, "on_consume", c.OnConsume)
		k.hookList(name, "on_commit", c.OnCommit)
		k.partitioner(at("partitioner"), c.Partitioner)
		k.oneOf(at("partitioner_on_error"), string(c.PartitionerOnError), partitionerOnErrors...)
		between(k, at("lanes"), c.Lanes, 1, 256)
		if c.DeadLetterTopic != "" {
			k.topicName(at("dead_letter_topic"), c.DeadLetterTopic)
		}
	}
	k.ties()
}

// hookList checks one ordered list of plugins.
func (k *checker) hookList(chain, hook string, list []string) {
	first := map[string]int{}
	for i, plugin := range list {
		at := path("chain", chain, hook, strconv.Itoa(i))
		if j, twice := first[plugin]; twice {
			k.fail(at, fmt.Sprintf("chain %q: %s lists plugin %q twice (places %d and %d)", chain, hook, plugin, j+1, i+1),
				"define a second [plugin.NAME] with the same module to run it twice")
			continue
		}
		first[plugin] = i
		k.reference(at, fmt.Sprintf("chain %q", chain), "plugin", plugin, k.names())
	}
}

// ties reports topics that two chains match equally exactly.
func (k *checker) ties() {
	type pattern struct {
		chain, text string
		index       int
	}
	var all []pattern
	for _, name := range sortedKeys(k.Chain) {
		for i, text := range k.Chain[name].Topics {
			all = append(all, pattern{name, text, i})
		}
	}
	sort.SliceStable(all, func(i, j int) bool { // a tie is reported at the later of the two
		a := k.Source.At("chain", all[i].chain, "topics", strconv.Itoa(all[i].index))
		b := k.Source.At("chain", all[j].chain, "topics", strconv.Itoa(all[j].index))
		return a.Line < b.Line || a.Line == b.Line && a.Col < b.Col
	})
	for i, b := range all {
		for _, a := range all[:i] {
			if a.chain == b.chain || exactness(a.text) != exactness(b.text) || !overlap(a.text, b.text) {
				continue
			}
			where := ""
			if at := k.Source.At("chain", a.chain, "topics", strconv.Itoa(a.index)); at.Line > 0 {
				where = fmt.Sprintf(" (line %d)", at.Line)
			}
			k.fail(path("chain", b.chain, "topics", strconv.Itoa(b.index)),
				fmt.Sprintf("chain %q and chain %q both match topics by %q and %q, equally exactly", a.chain, b.chain, a.text, b.text),
				"make one of them more exact"+where)
		}
	}
}

func (k *checker) pipelines() {
	groups := map[string]string{}
	for _, name := range sortedKeys(k.Pipeline) {
		p := k.Pipeline[name]
		at := func(key string) []string { return path("pipeline", name, key) }
		k.pipelineTopics(name, p)
		if p.Chain != "" {
			k.reference(at("chain"), fmt.Sprintf("pipeline %q", name), "chain", p.Chain, sortedKeys(k.Chain))
		}
		k.oneOf(at("guarantee"), string(p.Guarantee), guarantees...)
		if p.Guarantee == ExactlyOnce {
			k.exactlyOnce(name)
		}
		k.rekey(name, p)
		k.retries(path("pipeline", name), p.Retries, p.RetryBackoff, p.RetryBackoffMax)
		if chain, ok := k.PipelineChain(name); ok && p.Retries > 0 && p.Guarantee == ExactlyOnce && k.Chain[chain].Lanes > 1 {
			k.fail(at("retries"), fmt.Sprintf("pipeline %q is exactly once and chain %q has lanes = %d: a record that waits for its retry could not hold back what other lanes write after it", name, chain, k.Chain[chain].Lanes), "set lanes = 1 in the chain, or retries = 0")
		}
		between(k, at("commit_interval_ms"), p.CommitInterval, millis(1), seconds(3600))
		if other, shared := groups[p.GroupID]; shared {
			k.warn(at("group_id"), fmt.Sprintf("pipelines %q and %q share the group %q: each reads a part of the partitions", other, name, p.GroupID), "give each a group_id of its own")
		}
		groups[p.GroupID] = name
	}
	k.loops()
}

// maxRetries and maxRetryBackoff bound how long a partition waits for one record.
const maxRetries = 1000

var maxRetryBackoff = seconds(300)

// retries checks how records are tried again that were failed.
func (k *checker) retries(table []string, n int, backoff, most Duration) {
	between(k, join(table, "retries"), n, 0, maxRetries)
	between(k, join(table, "retry_backoff_ms"), backoff, millis(1), maxRetryBackoff)
	between(k, join(table, "retry_backoff_max_ms"), most, millis(1), maxRetryBackoff)
	if backoff > most {
		k.fail(join(table, "retry_backoff_ms"), fmt.Sprintf("%s: retry_backoff_ms %v is larger than retry_backoff_max_ms %v", tableName(table), backoff, most), "raise retry_backoff_max_ms, or lower this")
	}
}

// exactlyOnce demands what a pipeline's transactions rest on.
func (k *checker) exactlyOnce(name string) {
	at := path("pipeline", name, "guarantee")
	if k.Host.ID == "" {
		k.fail(at, fmt.Sprintf("pipeline %q: exactly_once needs a name that lasts for the host", name), "set id in [host]: it names the transactions, so that a restart ends those that were left open")
	}
	p := k.Pipeline[name]
	timeout := path("pipeline", name, "transaction_timeout_ms")
	between(k, timeout, p.TransactionTimeout, millis(1), seconds(24*3600))
	if p.TransactionTimeout <= p.CommitInterval {
		k.fail(timeout, fmt.Sprintf("pipeline %q: brokers would abort its transactions after %v, before commit_interval_ms = %v commits them", name, p.TransactionTimeout, p.CommitInterval), "several times commit_interval_ms leaves room for slow brokers")
	}
	if k.Consumer.IsolationLevel == "read_uncommitted" {
		k.fail(path("consumer", "isolation_level"), fmt.Sprintf("pipeline %q is exactly once and would read records of aborted transactions", name), `use "read_committed"`)
	}
	if !k.Producer.Idempotent() {
		k.fail(at, fmt.Sprintf("pipeline %q: exactly_once needs idempotence, which the settings of [producer] turn off", name), "transactions need acks = \"all\", retries, and at most 5 requests in flight")
	}
}

func (k *checker) pipelineTopics(name string, p Pipeline) {
	at := func(key string) []string { return path("pipeline", name, key) }
	if len(p.From) == 0 {
		k.problems.missing(path("pipeline", name), "from", fmt.Sprintf("pipeline %q reads from no topic", name), `set from to a list of topics`)
	}
	for i, topic := range p.From {
		k.topicName(join(at("from"), strconv.Itoa(i)), topic)
	}
	if p.To == "" {
		k.problems.missing(path("pipeline", name), "to", fmt.Sprintf("pipeline %q writes to no topic", name), "set to to a topic")
	} else {
		k.topicName(at("to"), p.To)
	}
	if contains(p.From, p.To) && p.To != "" {
		k.fail(at("to"), fmt.Sprintf("pipeline %q writes to its own input %q: every record would go round for ever", name, p.To), "write to another topic")
	}
	k.deadLetterTopics(name, p)
}

// deadLetterTopics refuses dead letters into the pipeline's input, where they
// would be read again, and into its output, where they would pass for results.
func (k *checker) deadLetterTopics(name string, p Pipeline) {
	check := func(at []string, topic string) {
		switch {
		case topic == "":
		case contains(p.From, topic):
			k.fail(at, fmt.Sprintf("dead-letter topic %q is the input of pipeline %q", topic, name), "use a topic of its own")
		case topic == p.To:
			k.fail(at, fmt.Sprintf("dead-letter topic %q is the output of pipeline %q", topic, name), "use a topic of its own")
		}
	}
	if at := path("pipeline", name, "dead_letter_topic"); p.DeadLetterTopic != "" {
		k.topicName(at, p.DeadLetterTopic)
		check(at, p.DeadLetterTopic)
	}
	chain, ok := k.PipelineChain(name)
	if !ok {
		return
	}
	c := k.Chain[chain]
	check(path("chain", chain, "dead_letter_topic"), c.DeadLetterTopic)
	for _, plugin := range sortedKeys(k.Plugin) {
		if !c.lists(plugin) {
			continue
		}
		check(path("plugin", plugin, "dead_letter_topic"), k.Plugin[plugin].DeadLetterTopic)
		for i, pattern := range k.Plugin[plugin].Topics {
			for _, from := range p.From {
				if MatchTopic(pattern, from) {
					k.warn(path("plugin", plugin, "topics", strconv.Itoa(i)), fmt.Sprintf("plugin %q may send records back to %q, the input of pipeline %q", plugin, from, name), "")
				}
			}
		}
	}
}

// loops warns of pipelines that feed each other in a ring.
func (k *checker) loops() {
	reported := map[string]bool{}
	for _, start := range sortedKeys(k.Pipeline) {
		way, seen := []string{start}, map[string]bool{start: true}
		if ring := k.ring(start, start, way, seen); ring != nil && !reported[start] {
			for _, name := range ring {
				reported[name] = true
			}
			k.warn(path("pipeline", start, "to"), fmt.Sprintf("pipelines %s feed each other: records go round for ever unless a plugin stops them", strings.Join(ring, " -> ")), "")
		}
	}
}

// ring returns the pipelines of a way from at back to start, or nil.
func (k *checker) ring(start, at string, way []string, seen map[string]bool) []string {
	for _, next := range sortedKeys(k.Pipeline) {
		if !contains(k.Pipeline[next].From, k.Pipeline[at].To) {
			continue
		}
		if next == start && len(way) > 1 {
			return append(way, start)
		}
		if !seen[next] {
			seen[next] = true
			if ring := k.ring(start, next, join(way, next), seen); ring != nil {
				return ring
			}
		}
	}
	return nil
}

// unused warns of what is defined and not used.
func (k *checker) unused() {
	for _, name := range sortedKeys(k.Plugin) {
		if !k.pluginUsed(name) && k.Source != nil {
			k.problems.AddKey(path("plugin", name), Warning, fmt.Sprintf("plugin %q is in no chain", name), "")
		}
	}
	for _, name := range sortedKeys(k.Chain) {
		if len(k.Chain[name].Topics) == 0 && !k.chainUsed(name) && !k.problems.unknownIn[joinPath(path("chain", name))] {
			k.problems.AddKey(path("chain", name), Warning, fmt.Sprintf("chain %q has no topics and no pipeline names it", name), "set topics")
		}
	}
}

// pluginUsed is true as well where an unknown key of a chain may be the list
// that names the plugin.
func (k *checker) pluginUsed(name string) bool {
	for chain, c := range k.Chain {
		if c.lists(name) || k.problems.unknownIn[joinPath(path("chain", chain))] {
			return true
		}
	}
	return k.Producer.Partitioner == name || k.problems.unknownIn[""]
}

func (k *checker) chainUsed(name string) bool {
	for _, p := range k.Pipeline {
		if p.Chain == name {
			return true
		}
	}
	return false
}

// ModuleFacts are what is known of a plugin once its module is loaded.
type ModuleFacts struct {
	Hooks    []string // that it exports: on_send, on_acknowledgement, on_consume, on_commit, partition
	State    string   // none, host or instance, by its manifest
	Protects bool     // its manifest says that it guards data
}

// CheckModule adds the problems that only a loaded module shows: hooks it does
// not export, pass on a plugin that protects, and lanes with a plugin that
// keeps state in its instance.
func (c *Config) CheckModule(problems *Problems, plugin string, m ModuleFacts) {
	k := &checker{Config: c, problems: problems}
	p := c.Plugin[plugin]
	if m.Protects && p.OnError == Pass {
		k.warn(path("plugin", plugin, "on_error"), fmt.Sprintf("plugin %q protects data, and on_error = \"pass\" lets records through unprotected when it fails", plugin), `use "fail" or "dead_letter"`)
	}
	if m.State == "host" && p.State == "" {
		k.problems.missing(path("plugin", plugin), "state", fmt.Sprintf("plugin %q keeps state and has none", plugin), `set state to the name of a [state.NAME]`)
	}
	for _, name := range sortedKeys(c.Chain) {
		ch := c.Chain[name]
		if !ch.lists(plugin) {
			continue
		}
		k.exports(name, ch, plugin, m.Hooks)
		if m.State == "instance" && ch.Lanes > 1 && !ch.AllowReorder {
			k.fail(path("chain", name, "lanes"), fmt.Sprintf("chain %q: lanes = %d with plugin %q, which keeps state in its instance: each lane would have a state of its own", name, ch.Lanes, plugin),
				"use lanes = 1, or allow_reorder = true")
		}
	}
}

// exports demands the hooks that the chain lists the plugin for. A plugin of
// on_send may stand in on_acknowledgement without that hook, as it does there
// when the key is left out: it is not called.
func (k *checker) exports(chain string, c Chain, plugin string, hooks []string) {
	demand := func(hook, key string, list []string) {
		for i, name := range list {
			if name == plugin && !contains(hooks, hook) {
				k.fail(path("chain", chain, key, strconv.Itoa(i)), fmt.Sprintf("chain %q: plugin %q has no %s", chain, plugin, hook), "it has "+quoteList(hooks))
			}
		}
	}
	demand("on_send", "on_send", c.OnSend)
	if !contains(c.OnSend, plugin) {
		demand("on_acknowledgement", "on_acknowledgement", c.OnAcknowledgement)
	}
	demand("on_consume", "on_consume", c.OnConsume)
	demand("on_commit", "on_commit", c.OnCommit)
	if c.Partitioner == plugin && !contains(hooks, "partition") {
		k.fail(path("chain", chain, "partitioner"), fmt.Sprintf("chain %q: plugin %q is no partitioner", chain, plugin), "it has "+quoteList(hooks))
	}
}
