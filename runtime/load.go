package runtime

import (
	"context"
	"fmt"
	"strings"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Load makes wasm the active generation. It guards and compiles the module,
// initialises one instance as a test and one for each open seat, and only then
// swaps it in, between two calls of each seat. After an error the generation that
// was active still is. The errors are those of Engine.Compile and *LoadError.
func (p *Plugin) Load(ctx context.Context, wasm []byte) error {
	p.loading.Lock()
	defer p.loading.Unlock()
	if p.isClosed() {
		return fmt.Errorf("plugin %q: %w", p.cfg.Name, ErrClosed)
	}
	if problems := p.checkBytes(wasm); len(problems) > 0 {
		return &LoadError{Name: p.cfg.Name, Problems: problems}
	}
	m, err := p.e.Compile(ctx, p.cfg.Name, wasm)
	if err != nil {
		return err
	}
	g, err := p.selfTest(m)
	if err != nil {
		_ = m.Close(ctx) // the error that matters is the other one
		return err
	}
	if err := p.prepareAndActivate(ctx, g); err != nil {
		_ = g.release(ctx)
		return err
	}
	return nil
}

func (p *Plugin) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// checkBytes checks what must hold before the module is looked at: the demanded
// digest, and the configuration.
func (p *Plugin) checkBytes(wasm []byte) (problems []string) {
	if have := Digest(wasm); p.cfg.SHA256 != "" && !strings.EqualFold(p.cfg.SHA256, have) {
		problems = append(problems, fmt.Sprintf("the module's sha256 is %s, the configuration demands %s", have, p.cfg.SHA256))
	}
	if n := p.cfg.MemoryMax; n <= 0 || n%pageSize != 0 || n > memoryLimit {
		problems = append(problems, fmt.Sprintf("memory of %d bytes; must be a multiple of 64 KiB, at most 64 MiB", n))
	}
	if p.cfg.OutputMax < modMin {
		problems = append(problems, fmt.Sprintf("output limit of %d bytes; must be at least %d", p.cfg.OutputMax, modMin))
	}
	if p.cfg.Timeout < 0 {
		problems = append(problems, fmt.Sprintf("timeout of %s", p.cfg.Timeout))
	}
	return problems
}

// selfTest checks what the module asks for and makes an instance of it, which
// also tells its hooks, fields and reasons.
func (p *Plugin) selfTest(m *Module) (*Generation, error) {
	problems := p.checkModule(m)
	if p.cfg.Manifest != nil {
		manifest, wrong := parseManifest(p.cfg.Manifest)
		m.manifest = manifest
		problems = append(problems, wrong...)
	}
	if len(problems) > 0 {
		return nil, &LoadError{Name: p.cfg.Name, Problems: problems}
	}
	in, err := p.e.instantiate(m, &p.cfg, place{lanes: 1, host: testHost{}, secrets: p.secrets})
	if err != nil {
		return nil, &LoadError{Name: p.cfg.Name, Problems: []string{p.unnamed(err)}, Err: err}
	}
	defer in.close()
	return newGeneration(p.number+1, m, in), nil
}

// checkModule compares what the module needs with what the configuration
// grants.
func (p *Plugin) checkModule(m *Module) (problems []string) {
	var missing Grant
	needs := map[Grant][]string{}
	for _, im := range m.facts.Imports {
		if g := importGrants[im.Name]; im.Module == abi.ImportModule && !p.cfg.Grants.Has(g) {
			missing |= g
			needs[g] = append(needs[g], im.Name)
		}
	}
	for _, name := range missing.Names() {
		g, _ := ParseGrant(name)
		problems = append(problems, fmt.Sprintf("capability %q is not granted; the module imports %s",
			name, strings.Join(needs[g], ", ")))
	}
	if least := int64(m.facts.Memory.Min) * pageSize; least > p.cfg.MemoryMax {
		problems = append(problems, fmt.Sprintf("the module's memory starts with %d KiB, the configuration allows %d KiB",
			least>>10, p.cfg.MemoryMax>>10))
	}
	return problems
}

// unnamed is the text of an error without the plugin's name in front, which a
// LoadError puts there.
func (p *Plugin) unnamed(err error) string {
	return strings.TrimPrefix(err.Error(), fmt.Sprintf("plugin %q: ", p.cfg.Name))
}

// drain waits until the generation before the active one is gone, so that never
// more than one is on its way out. Seats that nobody calls are moved. Calls that
// run are bounded, as is klamm_close.
func (p *Plugin) drain(ctx context.Context) error {
	if p.draining == nil {
		return nil
	}
	for _, s := range p.openSeats() {
		s.moveOn()
	}
	select {
	case <-p.draining.gone:
		p.draining = nil
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for generation %d to end: %w", p.draining.Number, ctx.Err())
	}
}

// prepareAndActivate makes an instance for each open seat, then g active.
func (p *Plugin) prepareAndActivate(ctx context.Context, g *Generation) error {
	if err := p.drain(ctx); err != nil {
		return &LoadError{Name: p.cfg.Name, Problems: []string{p.unnamed(err)}, Err: err}
	}
	ready := map[*Seat]seated{}
	for {
		lacking, done := p.activate(g, ready)
		if done {
			return nil
		}
		for _, s := range lacking {
			in, err := p.instanceFor(g, s.at)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				for _, r := range ready {
					p.retire(r)
				}
				return &LoadError{Name: p.cfg.Name, Problems: []string{p.unnamed(err)}, Err: err}
			}
			g.retain()
			ready[s] = seated{g, in}
		}
	}
}

// activate swaps g in if every open seat has an instance ready; else it returns
// the seats that have none, as some may have been opened meanwhile.
func (p *Plugin) activate(g *Generation, ready map[*Seat]seated) (lacking []*Seat, done bool) {
	p.mu.Lock()
	for s := range p.seats {
		if _, ok := ready[s]; !ok {
			lacking = append(lacking, s)
		}
	}
	if len(lacking) > 0 {
		p.mu.Unlock()
		return lacking, false
	}
	old := p.active.Swap(g)
	p.number = g.Number
	p.breaker.reset()
	for s, r := range ready {
		if _, open := p.seats[s]; !open {
			p.retire(r)
			delete(ready, s)
		} else if stale := s.next.Swap(&r); stale != nil {
			p.retire(*stale)
		}
	}
	p.mu.Unlock()
	for s := range ready {
		s.moveIfIdle()
	}
	p.draining = old
	if old != nil {
		_ = old.release(context.Background()) // reports nothing in the engine that we use
	}
	return nil, true
}

// instanceFor makes an instance of g for a seat.
func (p *Plugin) instanceFor(g *Generation, at place) (*instance, error) {
	in, err := p.e.instantiate(g.Module, &p.cfg, at)
	if err != nil {
		return nil, err
	}
	if in.answer != g.answer {
		in.close()
		return nil, fmt.Errorf("call %s: the answer for lane %d of chain %q is not that of other lanes",
			abi.ExportInit, at.lane, at.chain)
	}
	in.keeps = g.Module.restores
	in.snap()
	return in, nil
}

// testHost is the Host of the instance that a module is tested with.
type testHost struct{}

func (testHost) Log(int32, []byte)                         {}
func (testHost) DefineMetric(int32, string) (int32, error) { return 0, nil }
func (testHost) AddMetric(int32, int64)                    {}
func (testHost) ObserveMetric(int32, float64)              {}
func (testHost) Claim(int, []byte, int64) int32            { return abi.ClaimRefused }
func (testHost) StateGet([]byte) ([]byte, bool)            { return nil, false }
func (testHost) StatePut(_, _ []byte, _ int64) error       { return ErrNotLoaded }
func (testHost) Value(int) []byte                          { return nil }
func (testHost) Headers(int, func(string, []byte))         {}
