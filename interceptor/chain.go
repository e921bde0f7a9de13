package interceptor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/klamm-io/klamm/sdk/abi"
)

// maxLinks is how many links a list may have: Item.Offered has a bit for each.
const maxLinks = 16

// ChainConfig says which links see the records of which topics.
type ChainConfig struct {
	Name   string
	Topics []string // told to the plugins
	// The lists in calling order. A name may stand in each list once.
	OnSend            []Link
	OnAcknowledgement []Link
	OnConsume         []Link
	OnCommit          []Link
	// DeadLetterTopic is for links that name none.
	DeadLetterTopic string
	// Refused names topics that no plugin may choose, besides "__*" and the
	// dead-letter topics of this chain: those of states and of other chains. Nil
	// refuses none.
	Refused func(topic string) bool
	// Facts are told to on_acknowledgement and on_commit where plugins ask for
	// them; on_send and on_consume get those of their Batch. Nil knows none.
	Facts  TopicFacts
	Logger *slog.Logger // nil discards
	// LogLinesPerSecond is how many log lines a plugin may write in one lane; the
	// others are counted. 0 stands for 100, below it for none.
	LogLinesPerSecond int
	Metrics           Metrics // nil counts nothing
}

// Chain is an ordered list of interceptors for each hook. It is safe for
// concurrent use.
type Chain struct {
	cfg     ChainConfig
	logger  *slog.Logger
	metrics Metrics
	dead    map[string]bool // dead-letter topics
}

// NewChain checks cfg and reports all its problems.
func NewChain(cfg ChainConfig) (*Chain, error) {
	c := &Chain{cfg: cfg, logger: cfg.Logger, metrics: cfg.Metrics, dead: map[string]bool{}}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	if c.metrics == nil {
		c.metrics = noMetrics{}
	}
	var errs []error
	first := map[string]*Link{}
	for _, list := range c.lists() {
		errs = append(errs, c.checkList(list.hook, list.links, first)...)
	}
	errs = append(errs, c.checkDeadLetter("", cfg.DeadLetterTopic))
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("chain %q: %w", cfg.Name, err)
	}
	return c, nil
}

type hookList struct {
	hook  abi.Hook
	links []Link
}

func (c *Chain) lists() []hookList {
	return []hookList{
		{abi.OnSend, c.cfg.OnSend}, {abi.OnAcknowledgement, c.cfg.OnAcknowledgement},
		{abi.OnConsume, c.cfg.OnConsume}, {abi.OnCommit, c.cfg.OnCommit},
	}
}

func (c *Chain) checkList(hook abi.Hook, links []Link, first map[string]*Link) []error {
	var errs []error
	if len(links) > maxLinks {
		errs = append(errs, fmt.Errorf("%s: %d plugins, the most is %d", hook, len(links), maxLinks))
	}
	seen := map[string]bool{}
	for i := range links {
		l := &links[i]
		if l.Name == "" {
			errs = append(errs, fmt.Errorf("%s: plugin %d has no name", hook, i+1))
			continue
		}
		if seen[l.Name] {
			errs = append(errs, fmt.Errorf("%s: plugin %q is listed twice; give the second one a name of its own", hook, l.Name))
		}
		seen[l.Name] = true
		if err := l.problems(hook, c.cfg.DeadLetterTopic); err != nil {
			errs = append(errs, fmt.Errorf("%s: plugin %q: %w", hook, l.Name, err))
		}
		if f := first[l.Name]; f == nil {
			first[l.Name] = l
		} else if f.Plugin != l.Plugin || f.Space != l.Space || (f.Native == nil) != (l.Native == nil) {
			errs = append(errs, fmt.Errorf("%s: plugin %q is another one than in an earlier list", hook, l.Name))
		}
		errs = append(errs, c.checkDeadLetter(l.Name, l.DeadLetterTopic))
	}
	return errs
}

func (c *Chain) checkDeadLetter(plugin, topic string) error {
	if topic == "" {
		return nil
	}
	c.dead[topic] = true
	if problem := nameProblem(topic); problem != "" {
		if plugin == "" {
			return fmt.Errorf("dead_letter_topic %q: %s", topic, problem)
		}
		return fmt.Errorf("plugin %q: dead_letter_topic %q: %s", plugin, topic, problem)
	}
	return nil
}

// Lane opens a lane: an instance of each plugin. lane counts from 0 to lanes-1.
// When one plugin cannot be opened, those opened before are closed again.
func (c *Chain) Lane(ctx context.Context, lane, lanes int) (*Lane, error) {
	l := &Lane{chain: c, lane: lane, lanes: lanes, guests: map[string]*guest{}, names: map[string]string{}}
	l.run.lane = l
	for _, list := range c.lists() {
		for i := range list.links {
			p, err := l.place(ctx, list.hook, i, &list.links[i])
			if err != nil {
				return nil, errors.Join(fmt.Errorf("chain %q: open lane %d: %w", c.cfg.Name, lane, err), l.Close(ctx))
			}
			l.places[list.hook] = append(l.places[list.hook], p)
		}
	}
	return l, nil
}
