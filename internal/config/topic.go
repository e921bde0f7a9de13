package config

import (
	"sort"
	"strings"
)

// MatchTopic reports whether pattern, a topic's name or a glob, matches topic.
// In a glob "*" stands for any letters, none included, and "?" for one.
func MatchTopic(pattern, topic string) bool {
	// star is where to go on when a later letter does not fit: one more letter
	// goes to the last "*".
	p, t, star, mark := 0, 0, -1, 0
	for t < len(topic) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == topic[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

func isGlob(pattern string) bool { return strings.ContainsAny(pattern, "*?") }

// exactness ranks patterns that match the same topic; the highest wins. A name
// beats every glob. Of two globs the one with more letters wins, then the one
// with more "?".
func exactness(pattern string) int {
	if !isGlob(pattern) {
		return 1 << 30
	}
	marks := strings.Count(pattern, "?")
	letters := len(pattern) - marks - strings.Count(pattern, "*")
	return letters<<12 + marks
}

// ChainFor returns the name of the chain that judges the records of topic: of
// the chains with a matching name or glob the one whose is the most exact. Check
// has refused configurations in which two are equally exact.
func (c *Config) ChainFor(topic string) (name string, ok bool) {
	best := -1
	for _, chain := range sortedKeys(c.Chain) {
		for _, pattern := range c.Chain[chain].Topics {
			if e := exactness(pattern); e > best && MatchTopic(pattern, topic) {
				name, best = chain, e
			}
		}
	}
	return name, best >= 0
}

// PipelineChain returns the chain of the pipeline of that name: its own, or
// the one of its output topic.
func (c *Config) PipelineChain(pipeline string) (name string, ok bool) {
	p, ok := c.Pipeline[pipeline]
	if !ok {
		return "", false
	}
	if p.Chain != "" {
		_, ok = c.Chain[p.Chain]
		return p.Chain, ok
	}
	return c.ChainFor(p.To)
}

// AcknowledgementList returns the plugins that the chain's acknowledgements
// run through: OnAcknowledgement, or OnSend where that is not given.
func (c *Chain) AcknowledgementList() []string {
	if c.OnAcknowledgement == nil {
		return c.OnSend
	}
	return c.OnAcknowledgement
}

// overlap reports whether some topic matches both patterns.
func overlap(a, b string) bool {
	if !isGlob(a) {
		return MatchTopic(b, a)
	}
	if !isGlob(b) {
		return MatchTopic(a, b)
	}
	// reach[j]: a[:i] and b[:j] can match the same letters.
	reach := make([]bool, len(b)+1)
	reach[0] = true
	for j := 1; j <= len(b) && b[j-1] == '*'; j++ {
		reach[j] = true
	}
	for i := 1; i <= len(a); i++ {
		row := make([]bool, len(b)+1)
		row[0] = reach[0] && a[i-1] == '*'
		for j := 1; j <= len(b); j++ {
			switch {
			case a[i-1] == '*' || b[j-1] == '*':
				row[j] = row[j-1] || reach[j]
			case a[i-1] == '?' || b[j-1] == '?' || a[i-1] == b[j-1]:
				row[j] = reach[j-1]
			}
		}
		reach = row
	}
	return reach[len(b)]
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
