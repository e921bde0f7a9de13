package host

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/klamm-io/klamm"
)

// Deployment is one module that a plugin was given, accepted or not.
type Deployment struct {
	// Generation is the one that the module became, 0 where it was refused.
	Generation int       `json:"generation"`
	Digest     string    `json:"digest"` // SHA-256 of the module, in hex
	Version    string    `json:"version,omitempty"`
	Size       int       `json:"size"`
	At         time.Time `json:"at"`
	// From is start, file, deploy or rollback.
	From string `json:"from"`
	// Active says that records are judged by it now.
	Active bool `json:"active"`
	// Refused is why it never became active, "" where it did.
	Refused string `json:"refused,omitempty"`

	wasm []byte // kept for what may be rolled back to
}

// historyMax is how many deployments of a plugin are remembered; the modules of
// the last two that were active are kept.
const historyMax = 50

// Errors of Deploy and Rollback that a caller may act on.
var (
	// ErrUnknownPlugin: the configuration has no [plugin.NAME] of that name.
	ErrUnknownPlugin = errors.New("unknown plugin")
	// ErrUnsigned: require_signature is set, and the module has no signature of a
	// trusted key.
	ErrUnsigned = errors.New("no valid signature of a trusted key")
	// ErrNoRollback: the plugin had no other generation before this one.
	ErrNoRollback = errors.New("no earlier generation to go back to")
)

// Deploy gives a running plugin a new module: bytes, never a path. The module is
// guarded, compiled, initialised and tested aside, then swapped in between two
// calls of each lane; when it is refused, the running generation stays and the
// error says why. signature is an ed25519 signature of the bytes, nil for none.
//
// A module file that changes later, or SIGHUP after it has changed, replaces what
// was deployed.
func (h *Host) Deploy(ctx context.Context, name string, wasm, signature []byte) (Deployment, error) {
	p := h.plugins[name]
	if p == nil {
		return Deployment{}, fmt.Errorf("deploy to %q: %w; there are %v", name, ErrUnknownPlugin, h.pluginNames())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.module.Manifest != nil {
		return Deployment{}, fmt.Errorf("deploy to %q: its module is %q, which comes with klamm; name a file in [plugin.%s] to replace it", name, p.cfg.Module, name)
	}
	return p.load(ctx, h, wasm, signature, "deploy")
}

// Rollback brings the generation back that was active before the running one.
func (h *Host) Rollback(ctx context.Context, name string) (Deployment, error) {
	p := h.plugins[name]
	if p == nil {
		return Deployment{}, fmt.Errorf("roll back %q: %w; there are %v", name, ErrUnknownPlugin, h.pluginNames())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.history) - 1; i >= 0; i-- {
		if d := p.history[i]; d.wasm != nil && !d.Active {
			return p.load(ctx, h, d.wasm, nil, "rollback")
		}
	}
	return Deployment{}, fmt.Errorf("roll back %q: %w", name, ErrNoRollback)
}

// History returns what a plugin was given since the start, oldest first.
func (h *Host) History(name string) ([]Deployment, error) {
	p := h.plugins[name]
	if p == nil {
		return nil, fmt.Errorf("%q: %w; there are %v", name, ErrUnknownPlugin, h.pluginNames())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.history), nil
}

// load is the one way of a module into a running plugin. p.mu is held.
func (p *plugin) load(ctx context.Context, h *Host, wasm, signature []byte, from string) (Deployment, error) {
	d := Deployment{Digest: digestOf(wasm), Size: len(wasm), At: time.Now(), From: from, wasm: wasm}
	// What was active once was checked when it came.
	err := error(nil)
	if from != "rollback" {
		err = h.checkSignature(wasm, signature)
	}
	if err == nil {
		err = p.run.Load(ctx, wasm)
	}
	p.last = err
	if err != nil {
		err = &klamm.PluginError{Plugin: p.name, Hook: "load", Err: err}
		d.Refused, d.wasm = err.Error(), nil
		h.log.Error("module refused; the running generation stays", "plugin", p.name, "from", from, "digest", d.Digest, "error", err)
	} else {
		p.activated(&d)
		h.log.Info("plugin swapped", "plugin", p.name, "from", from, "generation", d.Generation, "digest", d.Digest)
	}
	p.history = append(p.history, d)
	p.trim()
	return d, err
}

// activated notes that d is the running generation now.
func (p *plugin) activated(d *Deployment) {
	gen := p.run.Active()
	d.Generation, d.Version, d.Active = gen.Number, gen.Module.Manifest().Version, true
	for i := range p.history {
		p.history[i].Active = false
	}
	p.loaded = d.At
}

// trim forgets what is too old to be of use.
func (p *plugin) trim() {
	if n := len(p.history) - historyMax; n > 0 {
		p.history = slices.Delete(p.history, 0, n)
	}
	kept := 0
	for i := len(p.history) - 1; i >= 0; i-- {
		if p.history[i].wasm == nil {
			continue
		}
		if kept++; kept > 2 {
			p.history[i].wasm = nil
		}
	}
}

// parseSignature takes an ed25519 signature, raw or in base64.
func parseSignature(text []byte) ([]byte, error) {
	if len(text) == ed25519.SignatureSize {
		return text, nil
	}
	sig, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(sig) != ed25519.SignatureSize {
		return nil, errors.New("the signature is neither 64 bytes of ed25519 nor their base64")
	}
	return sig, nil
}

// ReadSignature reads a module's ed25519 signature from a file: 64 bytes, or
// their base64.
func ReadSignature(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("signature of the module: %w", err)
	}
	sig, err := parseSignature(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return sig, nil
}

// digestOf is a module's SHA-256 in hex.
func digestOf(wasm []byte) string {
	sum := sha256.Sum256(wasm)
	return hex.EncodeToString(sum[:])
}

func (h *Host) pluginNames() []string { return slices.Sorted(maps.Keys(h.plugins)) }

// checkSignature demands a signature of a trusted key where the configuration
// does, and refuses a wrong one anywhere.
func (h *Host) checkSignature(wasm, signature []byte) error {
	keys := h.cfg.Plugins.TrustedKeys
	if signature == nil && !h.cfg.Plugins.RequireSignature {
		return nil
	}
	for _, text := range keys {
		key, err := base64.StdEncoding.DecodeString(text)
		if err == nil && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, wasm, signature) {
			return nil
		}
	}
	return fmt.Errorf("%w (%d keys in plugins.trusted_keys); sign the module's bytes with ed25519", ErrUnsigned, len(keys))
}
