package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/runtime/guard"
)

func (a *app) checkCommand() *cobra.Command {
	var connect, deny bool
	cmd := &cobra.Command{
		Use:   "check [config.toml]",
		Short: "configuration and plugins, without starting",
		Long: `Reads the configuration and tells every mistake with line and column, then loads and
initialises every plugin and builds every chain. --connect also asks the brokers:
are they there, do the topics exist, and how safe are records in them (replicas,
min.insync.replicas, unclean leaders, retention). Nothing is sent and nothing is kept.`,
		Example: `  klamm check config.toml
  klamm check --connect -c prod.toml
  klamm check config.toml --output json --deny-warnings`,
		Args: exactly("[config.toml]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := ""
			if len(args) > 0 {
				path = args[0]
			}
			c := &checkRun{a: a, began: time.Now()}
			if err := c.all(cmd.Context(), path, connect); err != nil {
				return err
			}
			return c.report(deny)
		},
	}
	cmd.Flags().BoolVar(&connect, "connect", false, "ask the brokers too: are they there, do the topics exist, how durable are they")
	cmd.Flags().BoolVar(&deny, "deny-warnings", false, "warnings are errors")
	return cmd
}

// checkRun gathers what is wrong.
type checkRun struct {
	a        *app
	began    time.Time
	path     string
	cfg      *config.Config // nil when it could not be read
	problems *config.Problems
	plugins  bool // some problem is a plugin's
	brokers  error
}

func (c *checkRun) all(ctx context.Context, path string, connect bool) error {
	path, err := c.a.findConfig(path)
	if err != nil {
		return err
	}
	if path == "" {
		return usagef("there is no ./config.toml; name the file to check")
	}
	c.path = path
	cfg, problems, err := config.LoadAll(path)
	if err != nil {
		return unreadable(path, err)
	}
	if c.problems = problems; problems.Errors() > 0 {
		if sound := problems.Sound(); sound != nil {
			c.askPlugins(ctx, sound)
		}
		return context.Cause(ctx)
	}
	c.cfg = cfg
	s := &settings{Config: cfg, path: path, baseDir: folderOf(path)}
	c.a.override(s)
	c.loadPlugins(ctx, s)
	if connect {
		c.askBrokers(ctx, s)
	}
	return context.Cause(ctx)
}

// loadPlugins does what a start does, without brokers.
func (c *checkRun) loadPlugins(ctx context.Context, s *settings) {
	c.askPlugins(ctx, c.cfg)
	for _, name := range sortedKeys(c.cfg.Plugin) {
		c.warnOfPass(ctx, s, name)
	}
}

// askPlugins loads the plugins of cfg and notes what they find wrong.
func (c *checkRun) askPlugins(ctx context.Context, cfg *config.Config) {
	h, err := host.Load(ctx, *cfg, folderOf(c.path), host.WithLogger(c.a.quietLogger(config.Log{Level: "error"})))
	if err == nil {
		err = h.Close(ctx)
	}
	for _, e := range flatten(err) {
		c.pluginProblem(e)
	}
}

// pluginProblem finds the place that an error is about.
func (c *checkRun) pluginProblem(err error) {
	if problems := (*config.Problems)(nil); errors.As(err, &problems) {
		c.problems.Join(problems)
		return
	}
	if addPluginKeys(c.problems, err) {
		return
	}
	c.plugins = true
	var p *klamm.PluginError
	if !errors.As(err, &p) {
		c.problems.Add([]string{"chain"}, config.Error, err.Error(), "")
		return
	}
	place := []string{"plugin", p.Plugin, "module"}
	if guest := (*runtime.GuestError)(nil); errors.As(err, &guest) || strings.Contains(p.Err.Error(), "config key") {
		place = []string{"plugin", p.Plugin, "config"}
	}
	do := ""
	if refused := (*guard.Error)(nil); errors.As(err, &refused) {
		do = rebuildModule
	}
	c.problems.Add(place, config.Error, fmt.Sprintf("plugin %q: %s", p.Plugin, p.Cause()), do)
}

// warnOfPass tells of a plugin that shall protect and may be passed by.
func (c *checkRun) warnOfPass(ctx context.Context, s *settings, name string) {
	p := c.cfg.Plugin[name]
	if p.OnError != config.Pass {
		return
	}
	mod, err := module.Resolve(ctx, p.Module, s.baseDir, c.cfg.Plugins.CacheDir)
	if err != nil {
		return // told already
	}
	if manifestOf(ctx, mod).Protects {
		c.problems.Add([]string{"plugin", name, "on_error"}, config.Warning,
			fmt.Sprintf("plugin %q protects, by its manifest, and on_error = \"pass\" lets records by it when it fails", name),
			`use "fail" or "dead_letter"`)
	}
}

// askBrokers connects, and looks for the topics that are written or read.
func (c *checkRun) askBrokers(ctx context.Context, s *settings) {
	if s.embedded() {
		c.a.say("the embedded broker is started by klamm run; there is none to ask")
		return
	}
	h, err := host.Connect(ctx, *c.cfg, host.WithLogger(c.a.quietLogger(config.Log{})))
	if err != nil {
		c.brokers = err
		return
	}
	defer h.Close(ctx)
	known, err := h.Topics(ctx)
	if err != nil {
		c.brokers = err
		return
	}
	uses := topicsOf(c.cfg)
	for _, use := range uses {
		if !slices.Contains(known, use.topic) && !c.cfg.Cluster.AllowAutoCreateTopics {
			c.problems.Add(use.path, config.Error, fmt.Sprintf("topic %q does not exist at the brokers", use.topic),
				fmt.Sprintf("klamm topic create %s", use.topic))
		}
	}
	uses = append(uses, c.askStates(ctx, h)...)
	c.noAudit(c.askDurability(ctx, h, uses))
}

// askStates looks whether the topics of states can be used, and returns those that
// are there.
func (c *checkRun) askStates(ctx context.Context, h *host.Host) (uses []topicUse) {
	for _, name := range sortedKeys(c.cfg.State) {
		if c.cfg.State[name].Backend != "kafka" || len(c.cfg.StatePipelines(name)) == 0 {
			continue
		}
		place := []string{"state", name, "backend"}
		if c.cfg.State[name].Topic != "" {
			place[2] = "topic"
		}
		exists, err := h.CheckState(ctx, name)
		if err != nil && !errors.Is(err, klamm.ErrUnknownTopic) { // that of its input is told already
			c.problems.Add(place, config.Error, err.Error(), "")
		}
		if exists {
			uses = append(uses, topicUse{c.cfg.StateTopic(name), place})
		}
	}
	return uses
}

// topicUse is a topic that the configuration names, and where.
type topicUse struct {
	topic string
	path  []string
}

func topicsOf(cfg *config.Config) []topicUse {
	var uses []topicUse
	add := func(topic string, path ...string) {
		if topic != "" && !strings.ContainsAny(topic, "*?") {
			uses = append(uses, topicUse{topic, path})
		}
	}
	for _, name := range sortedKeys(cfg.Chain) {
		for i, t := range cfg.Chain[name].Topics {
			add(t, "chain", name, "topics", fmt.Sprint(i))
		}
		add(cfg.Chain[name].DeadLetterTopic, "chain", name, "dead_letter_topic")
	}
	for _, name := range sortedKeys(cfg.Plugin) {
		add(cfg.Plugin[name].DeadLetterTopic, "plugin", name, "dead_letter_topic")
	}
	for _, name := range sortedKeys(cfg.Pipeline) {
		p := cfg.Pipeline[name]
		for i, t := range p.From {
			add(t, "pipeline", name, "from", fmt.Sprint(i))
		}
		add(p.To, "pipeline", name, "to")
		add(p.DeadLetterTopic, "pipeline", name, "dead_letter_topic")
	}
	return uses
}

type checkJSON struct {
	Schema   string             `json:"schema"`
	File     string             `json:"file"`
	Errors   int                `json:"errors"`
	Warnings int                `json:"warnings"`
	Problems []checkProblemJSON `json:"problems"`
}

type checkProblemJSON struct {
	Severity   string   `json:"severity"`
	Line       int      `json:"line,omitempty"`
	Column     int      `json:"column,omitempty"`
	Path       []string `json:"path"`
	What       string   `json:"what"`
	Suggestion string   `json:"suggestion,omitempty"`
}

// report prints what was found. What is wrong decides the exit code: the
// configuration before a plugin before the brokers.
func (c *checkRun) report(deny bool) error {
	if err := c.print(); err != nil {
		return err
	}
	failed := &failure{err: errors.New(c.problems.Summary()), said: true}
	switch {
	case c.cfg == nil:
		failed.code = exitConfig
	case c.plugins:
		failed.code = exitPlugin
	case c.problems.Errors() > 0 || deny && c.problems.Warnings() > 0:
		failed.code = exitConfig
	case c.brokers != nil:
		return c.brokers
	default:
		return nil
	}
	return failed
}

func (c *checkRun) print() error {
	if c.a.json() {
		j := checkJSON{Schema: "klamm.check/1", File: c.path, Errors: c.problems.Errors(), Warnings: c.problems.Warnings(), Problems: []checkProblemJSON{}}
		for _, p := range c.problems.All() {
			j.Problems = append(j.Problems, checkProblemJSON{p.Severity.String(), p.Place.Line, p.Place.Col, append([]string{}, p.Path...), p.What, p.Suggestion})
		}
		return printJSON(c.a.out, j)
	}
	c.problems.Render(c.a.out, c.a.colour(c.a.outTerminal))
	if c.problems.Errors() > 0 {
		_, err := fmt.Fprintf(c.a.out, "%s (%v)\n", c.problems.Summary(), since(c.began))
		return err
	}
	_, err := fmt.Fprintf(c.a.out, "%s: ok, %s, %s, %s, %s (%v)\n", c.path, plural(len(c.cfg.Plugin), "plugin"),
		plural(len(c.cfg.Chain), "chain"), plural(len(c.cfg.Pipeline), "pipeline"), plural(c.problems.Warnings(), "warning"), since(c.began))
	return err
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// flatten lists joined errors one by one.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}
