package runtime

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// PluginConfig says what a plugin is and what it may do.
type PluginConfig struct {
	Name     string // in the configuration; state, metrics and errors use it
	ClientID string
	// Config is the plugin's table as JSON. Nil stands for {}.
	Config []byte
	// Env is the WASI environment of the guest. GOGC and GOMEMLIMIT are added
	// unless it has them.
	Env map[string]string
	// Manifest, as JSON, stands in for the module's own; nil takes that one. A
	// module with several plugins in it has one for each.
	Manifest []byte
	// MemoryMax is the largest linear memory in bytes, a multiple of 64 KiB. The
	// default is 16 MiB, the most is 64 MiB.
	MemoryMax int64
	// Timeout bounds one call. The default is 50 ms.
	Timeout time.Duration
	// OutputMax is the most bytes that one call may return. The default is 4 MiB.
	OutputMax int
	Grants    Grant
	// Secrets are the keys of import hmac by name. They never enter guest memory.
	Secrets map[string][]byte
	// Hidden are values in Config that nobody else may read. Like Secrets, those of
	// at least 4 bytes are taken out of what the guest logs, prints and writes as the
	// text of a verdict, and no metric or reason may be named after them.
	Hidden  [][]byte
	Breaker Breaker
	// SHA256 is the digest, in hex, that the module must have. "" takes any.
	SHA256 string
	// Stretched writes the init block as a later minor version of the ABI might,
	// as Block.Stretched does with blocks of records. It serves tests of guests.
	Stretched bool
}

// Breaker configures the circuit breaker of a plugin.
type Breaker struct {
	// Failures is how many faults within Window open the breaker. 0 disables it.
	Failures int
	// Window is the time in which the faults count. 0 stands for 10 s.
	Window time.Duration
	// Cooldown is how long the plugin is not called. Then one call is tried: it
	// closes the breaker or opens it again. 0 stands for 10 s.
	Cooldown time.Duration
}

func (c PluginConfig) withDefaults() PluginConfig {
	if c.MemoryMax == 0 {
		c.MemoryMax = 16 << 20
	}
	if c.Timeout == 0 {
		c.Timeout = 50 * time.Millisecond
	}
	if c.OutputMax == 0 {
		c.OutputMax = 4 << 20
	}
	return c
}

// Plugin is a module under a name: generations, of which one is active.
type Plugin struct {
	e       *Engine
	cfg     PluginConfig
	breaker *breaker
	secrets secrets
	active  atomic.Pointer[Generation]
	retired sync.WaitGroup // instances being closed

	restored, remade atomic.Int64 // instances, after faults

	loading  sync.Mutex  // one Load at a time; taken before mu
	draining *Generation // that was active before, under loading
	mu       sync.Mutex
	seats    map[*Seat]struct{}
	number   int
	closed   bool
}

// NewPlugin returns a plugin without a generation; call Load.
func (e *Engine) NewPlugin(cfg PluginConfig) *Plugin {
	return &Plugin{
		e: e, cfg: cfg.withDefaults(), breaker: newBreaker(cfg.Breaker), secrets: secretsOf(&cfg), seats: map[*Seat]struct{}{},
	}
}

// Name returns the plugin's name in the configuration.
func (p *Plugin) Name() string { return p.cfg.Name }

// Active returns the active generation, nil before the first Load.
func (p *Plugin) Active() *Generation { return p.active.Load() }

// Recoveries returns how many instances were restored from their snapshot after
// a fault, and how many had to be made anew.
func (p *Plugin) Recoveries() (restored, remade int64) {
	return p.restored.Load(), p.remade.Load()
}

// Close closes all seats and generations, and waits until their instances are
// gone. It may be called twice.
func (p *Plugin) Close(ctx context.Context) error {
	p.loading.Lock()
	defer p.loading.Unlock()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	for _, s := range p.openSeats() {
		_ = s.Close(ctx) // an instance that is given up has nothing to report
	}
	var err error
	if g := p.active.Swap(nil); g != nil {
		err = g.release(ctx)
	}
	p.retired.Wait()
	return err
}

func (p *Plugin) openSeats() []*Seat {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.seats))
}

// seated is an instance and the generation it is of.
type seated struct {
	gen *Generation
	in  *instance // nil after some faults, until it is made anew
}

// retire closes an instance that no call can reach any more, aside, since its
// klamm_close may take its time.
func (p *Plugin) retire(s seated) {
	p.retired.Go(func() { s.close() })
}

func (s seated) close() {
	if s.in != nil {
		s.in.close()
	}
	if s.gen != nil {
		_ = s.gen.release(context.Background()) // reports nothing in the engine that we use
	}
}
