package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/partitioner"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

// This file is the only one of the package that knows the runtime: it turns
// [plugin.NAME] tables into running plugins, and chains into links.

// engine is the WebAssembly engine with the folder of compiled code.
type engine struct {
	run      *runtime.Engine
	cacheDir string
}

// plugin is one [plugin.NAME] at work.
type plugin struct {
	name  string
	cfg   config.Plugin
	run   *runtime.Plugin
	space *state.Space

	mu      sync.Mutex
	module  *module.Module // as last read from where the configuration says
	history []Deployment
	loaded  time.Time
	last    error // why the newest module was refused
}

func newEngine(ctx context.Context, cfg *config.Plugins, log *slog.Logger) (*engine, error) {
	dir := cfg.CacheDir
	if dir == "" {
		if base, err := os.UserCacheDir(); err == nil {
			dir = filepath.Join(base, "klamm")
		} else {
			log.Warn("compiled plugins are not cached: no cache directory; set plugins.cache_dir", "error", err)
		}
	}
	run, err := runtime.NewEngine(ctx, runtime.EngineConfig{CacheDir: dir, Logger: log, MemoryTotal: int64(cfg.MemoryTotal)})
	if err != nil {
		return nil, fmt.Errorf("start the WebAssembly engine: %w", err)
	}
	return &engine{run: run, cacheDir: dir}, nil
}

// loadPlugins opens the states, loads every plugin and checks every chain, and
// reports all that is wrong with them.
func (h *Host) loadPlugins(ctx context.Context) error {
	h.ledger = state.NewLedger(state.Options{Logger: h.log, Backends: h.backends(), Transaction: h.producers.transactionOf})
	var err error
	if h.engine, err = newEngine(ctx, &h.cfg.Plugins, h.log); err != nil {
		return err
	}
	var errs []error
	shut := map[string]bool{} // states that did not open
	for _, name := range slices.Sorted(maps.Keys(h.cfg.State)) {
		err := h.ledger.Open(name, h.storeConfig(name))
		errs, shut[name] = append(errs, err), err != nil
	}
	for _, name := range slices.Sorted(maps.Keys(h.cfg.Plugin)) {
		if shut[h.cfg.Plugin[name].State] {
			continue // it is told already
		}
		if err := h.loadPlugin(ctx, name); err != nil {
			errs = append(errs, &klamm.PluginError{Plugin: name, Hook: "load", Err: err})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := h.checkModules(); err != nil {
		return err
	}
	return h.buildChains()
}

// checkModules finds what only loaded modules show: a hook that a chain lists
// and the module has not, state that is needed and not given.
func (h *Host) checkModules() error {
	problems := config.NewProblems(h.cfg.Source)
	for _, name := range slices.Sorted(maps.Keys(h.plugins)) {
		gen := h.plugins[name].run.Active()
		m := gen.Module.Manifest()
		facts := config.ModuleFacts{State: m.State, Protects: m.Protects}
		for hook := abi.OnSend; hook < abi.HookCount; hook++ {
			if gen.Hooks.Has(hook) {
				facts.Hooks = append(facts.Hooks, hook.String())
			}
		}
		h.cfg.CheckModule(problems, name, facts)
	}
	for _, p := range problems.All() {
		if p.Severity == config.Warning {
			h.log.Warn("configuration", "warning", p.What, "suggestion", p.Suggestion)
		}
	}
	return problems.Err()
}

func (h *Host) loadPlugin(ctx context.Context, name string) error {
	cfg := h.cfg.Plugin[name]
	p := &plugin{name: name, cfg: cfg}
	if cfg.State != "" {
		var err error
		if p.space, err = h.ledger.Space(cfg.State, name, state.SpaceOptions{HoldUnknown: cfg.OnUnknown == "hold"}); err != nil {
			return err
		}
	}
	mod, err := module.Resolve(ctx, cfg.Module, h.baseDir, h.engine.cacheDir)
	if err != nil {
		return err
	}
	run, err := h.runtimeConfig(p, mod)
	if err != nil {
		return err
	}
	p.run, p.module = h.engine.run.NewPlugin(run), mod
	signature, err := signatureOf(mod)
	if err != nil {
		return err
	}
	if err := h.checkOrigin(mod, signature); err != nil {
		return err
	}
	if err := p.run.Load(ctx, mod.Wasm); err != nil {
		return errors.Join(err, p.run.Close(ctx))
	}
	d := Deployment{Digest: p.run.Active().Digest, Size: len(mod.Wasm), At: time.Now(), From: "start", wasm: mod.Wasm}
	p.activated(&d)
	p.history = append(p.history, d)
	h.plugins[name] = p
	h.log.Info("plugin loaded", "plugin", name, "module", cfg.Module, "digest", d.Digest, "version", d.Version)
	return nil
}

// runtimeConfig is what the sandbox needs to know: the plugin's own settings
// before those of [plugins].
func (h *Host) runtimeConfig(p *plugin, mod *module.Module) (runtime.PluginConfig, error) {
	all, cfg := &h.cfg.Plugins, &p.cfg
	table, err := config.PluginJSON(cfg.Config)
	if err != nil {
		return runtime.PluginConfig{}, err
	}
	grants, err := grantsOf(cfg, mod)
	if err != nil {
		return runtime.PluginConfig{}, err
	}
	secrets := map[string][]byte{}
	for name, s := range cfg.Secrets {
		secrets[name] = []byte(s.Reveal())
	}
	return runtime.PluginConfig{
		Hidden: config.PluginSecrets(cfg.Config),
		Name:   p.name, ClientID: h.cfg.Cluster.ClientID, Config: table, Env: mod.Env, Manifest: mod.Manifest,
		MemoryMax: int64(or(cfg.Memory, all.Memory)), Timeout: p.timeout(all),
		OutputMax: int(or(cfg.Output, all.Output)), Grants: grants, Secrets: secrets, SHA256: cfg.SHA256,
		Breaker: runtime.Breaker{
			Failures: all.Breaker.Failures, Window: all.Breaker.Window.Std(), Cooldown: all.Breaker.Cooldown.Std(),
		},
	}, nil
}

func (p *plugin) timeout(all *config.Plugins) time.Duration {
	return or(p.cfg.Timeout, all.Timeout).Std()
}

// or is the first value that is set.
func or[T comparable](own, all T) T {
	var zero T
	if own != zero {
		return own
	}
	return all
}

// grantsOf is what a plugin may use: what its table lists, or else what can do
// no harm; state and keyed hashing with what they need only.
//
// A builtin is ours: it may use what its manifest names, and no more.
func grantsOf(cfg *config.Plugin, mod *module.Module) (runtime.Grant, error) {
	names := cfg.Grants
	if names == nil {
		names = []string{"log", "metrics", "clock", "random"}
	}
	if mod.Manifest != nil {
		m, err := runtime.ParseManifest(mod.Manifest)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", mod.Ref, err)
		}
		names = m.Capabilities
	}
	var grants runtime.Grant
	for _, name := range names {
		g, ok := runtime.ParseGrant(name)
		if !ok {
			return 0, fmt.Errorf("grants: %q is no capability; they are %v", name, runtime.GrantAll.Names())
		}
		grants |= g
	}
	if cfg.State != "" {
		grants |= runtime.GrantState
	}
	if len(cfg.Secrets) > 0 {
		grants |= runtime.GrantHMAC
	}
	return grants, nil
}

// buildChains turns the configuration's chains into interceptor chains.
func (h *Host) buildChains() error {
	h.chains = newChains(&h.cfg)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(h.cfg.Chain)) {
		chain, err := h.buildChain(name, h.cfg.Chain[name])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		h.chains.add(name, chain)
	}
	bare, err := interceptor.NewChain(interceptor.ChainConfig{Logger: h.log, Metrics: h.opt.metrics})
	h.chains.add("", bare)
	return errors.Join(append(errs, err)...)
}

func (h *Host) buildChain(name string, cfg config.Chain) (*interceptor.Chain, error) {
	var errs []error
	links := func(names []string) []interceptor.Link {
		out := make([]interceptor.Link, 0, len(names))
		for _, n := range names {
			l, err := h.link(n)
			errs = append(errs, err)
			out = append(out, l)
		}
		return out
	}
	cc := interceptor.ChainConfig{
		Name: name, Topics: cfg.Topics, DeadLetterTopic: cfg.DeadLetterTopic, Refused: h.refusedTopic,
		Logger: h.log, LogLinesPerSecond: h.logRate(), Metrics: h.opt.metrics,
		OnSend: links(cfg.OnSend), OnAcknowledgement: links(cfg.AcknowledgementList()),
		OnConsume: links(cfg.OnConsume), OnCommit: links(cfg.OnCommit),
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("chain %q: %w", name, err)
	}
	return interceptor.NewChain(cc)
}

// logRate is a chain's way to say it: a configured 0 is none.
func (h *Host) logRate() int {
	if h.cfg.Plugins.LogRate == 0 {
		return -1
	}
	return h.cfg.Plugins.LogRate
}

func (h *Host) link(name string) (interceptor.Link, error) {
	if native, ok := h.opt.interceptors[name]; ok {
		return interceptor.Link{Name: name, Native: native}, nil
	}
	p := h.plugins[name]
	if p == nil {
		return interceptor.Link{}, fmt.Errorf("no plugin and no native interceptor is named %q", name)
	}
	policy, ok := interceptor.ParsePolicy(string(p.cfg.OnError))
	if !ok {
		return interceptor.Link{}, fmt.Errorf("plugin %q: on_error %q: it is fail, pass, drop or dead_letter", name, p.cfg.OnError)
	}
	return interceptor.Link{
		Name: name, Plugin: p.run, OnError: policy, DeadLetterTopic: p.cfg.DeadLetterTopic,
		AllowedTopics: p.cfg.Topics, Space: p.space, Timeout: p.timeout(&h.cfg.Plugins),
	}, nil
}

// refusedTopic names the topics that no plugin may send a record to, of
// whichever chain.
func (h *Host) refusedTopic(topic string) bool {
	for _, c := range h.cfg.Chain {
		if topic == c.DeadLetterTopic {
			return true
		}
	}
	for _, p := range h.cfg.Plugin {
		if topic == p.DeadLetterTopic {
			return true
		}
	}
	for name, p := range h.cfg.Pipeline {
		if topic == p.DeadLetterTopic || p.Rekey && topic == h.cfg.RekeyTopic(name) {
			return true
		}
	}
	for name, s := range h.cfg.State {
		if s.Backend == "kafka" && topic == h.cfg.StateTopic(name) {
			return true
		}
	}
	return false
}

// partitionerOf returns the partitioner of a chain's lane. Each lane has its
// own, so that it needs no lock.
func (h *Host) partitionerOf(ctx context.Context, run *chainRun, lane, lanes int, fallback *partitioner.DefaultPartitioner) (partitioner.Partitioner, error) {
	cfg := h.cfg.Chain[run.name]
	name := or(cfg.Partitioner, h.cfg.Producer.Partitioner)
	if name == "" || name == "default" {
		return nil, nil
	}
	if p, ok := h.opt.partitioners[name]; ok {
		return p, nil
	}
	if p, ok := partitioner.ByName(name, h.defaultPartitioner()); ok {
		return p, nil
	}
	p := h.plugins[name]
	if p == nil {
		return nil, fmt.Errorf("no plugin and no partitioner is named %q", name)
	}
	seat := runtime.SeatConfig{
		Chain: run.name, Topics: cfg.Topics, Lane: lane, Lanes: lanes,
		Host: interceptor.PartitionHost(name, h.log, h.logRate(), h.opt.metrics),
	}
	wasm := partitioner.WASMConfig{
		OnError: string(cfg.PartitionerOnError), Fallback: fallback, Timeout: p.timeout(&h.cfg.Plugins),
	}
	if h.opt.metrics != nil {
		wasm.Metrics = h.opt.metrics
	}
	return partitioner.OpenWASM(ctx, p.run, seat, wasm)
}

// closePlugins closes plugins and engine.
func (h *Host) closePlugins(ctx context.Context) error {
	var errs []error
	for _, p := range h.plugins {
		errs = append(errs, p.run.Close(ctx))
	}
	return errors.Join(append(errs, h.engine.run.Close(ctx))...)
}

// reload reads the plugin's module anew and loads it if it has changed since it
// was last read.
func (p *plugin) reload(ctx context.Context, h *Host) ReloadResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	res := ReloadResult{Plugin: p.name}
	mod, err := module.Resolve(ctx, p.cfg.Module, h.baseDir, h.engine.cacheDir)
	var signature []byte
	if err == nil {
		signature, err = signatureOf(mod)
	}
	switch {
	case err != nil:
		p.last, res.Err = err, err
		h.log.Error("module not read; the running generation stays", "plugin", p.name, "error", err)
	case !bytes.Equal(mod.Wasm, p.module.Wasm):
		res.Changed = true
		if _, res.Err = p.load(ctx, h, mod.Wasm, signature, "file"); res.Err == nil {
			p.module = mod
		}
	case p.run.Active().Digest == digestOf(mod.Wasm):
		p.last = nil // the file is again what runs
	}
	gen := p.run.Active()
	res.Generation, res.Digest = gen.Number, gen.Digest
	return res
}

// signatureOf reads the signature beside a module file: FILE.sig, 64 bytes or
// their base64. nil where there is none.
func signatureOf(mod *module.Module) ([]byte, error) {
	if mod.Path == "" {
		return nil, nil
	}
	sig, err := ReadSignature(mod.Path + ".sig")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return sig, err
}

// checkOrigin checks the signature of a module that the configuration names.
// Builtins are part of this program and need none.
func (h *Host) checkOrigin(mod *module.Module, signature []byte) error {
	if mod.Path == "" {
		return nil
	}
	return h.checkSignature(mod.Wasm, signature)
}

func (p *plugin) stats() PluginStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PluginStats{Module: p.cfg.Module, Loaded: p.loaded}
	if p.last != nil {
		s.LastError = p.last.Error()
	}
	s.Restored, s.Remade = p.run.Recoveries()
	if gen := p.run.Active(); gen != nil {
		s.Generation, s.Digest, s.Version = gen.Number, gen.Digest, gen.Module.Manifest().Version
	}
	return s
}
