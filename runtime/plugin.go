package runtime

import (
	"context"
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

// PluginConfig says what a plugin is and what it may do.
type PluginConfig struct {
	Name     string // in the configuration; state, metrics and errors use it
	ClientID string
	// Config is the plugin's table as JSON. Nil stands for {}.
	Config []byte
	// Env is the WASI environment of the guest.
	Env map[string]string
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
	Breaker Breaker
	// SHA256 is the digest, in hex, that the module must have. "" takes any.
	SHA256 string
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

// Plugin is a module under a name: generations, of which one is active.
type Plugin struct{}

// NewPlugin returns a plugin without a generation; call Load.
func (e *Engine) NewPlugin(cfg PluginConfig) *Plugin { return nil }

// Load makes wasm the active generation. It guards and compiles the module,
// initialises one instance as a test and one for each open seat, and only then
// swaps it in, between two calls of each seat. After an error the generation that
// was active still is.
func (p *Plugin) Load(ctx context.Context, wasm []byte) error { return errNotReady }

// Name returns the plugin's name in the configuration.
func (p *Plugin) Name() string { return "" }

// Active returns the active generation, nil before the first Load.
func (p *Plugin) Active() *Generation { return nil }

// Close closes all seats and generations.
func (p *Plugin) Close(ctx context.Context) error { return nil }

// Generation is one loaded version of a plugin. It does not change.
type Generation struct {
	Number int          // counts from 1
	Digest string       // of the module, SHA-256 in hex
	Module *Module      //
	Hooks  abi.HookMask // exported by the module and wanted by its klamm_init
}

// Fields returns what hook h asks to see of each record.
func (g *Generation) Fields(h abi.Hook) abi.Fields { return 0 }

// Reason returns the name of a reason: a declared one, one of the ABI's, or
// "other".
func (g *Generation) Reason(code uint16) string { return "" }
