package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/state"
	"github.com/klamm-io/klamm/state/kafka"
)

// Host is a configuration at work: plugins, chains, state, one producer, and
// the pipelines.
type Host struct {
	cfg     config.Config
	baseDir string // relative paths of modules and state files start here
	// checkOnly: it runs no record that counts.
	checkOnly bool
	opt       options
	log       *slog.Logger

	engine  *engine
	plugins map[string]*plugin
	ledger  *state.Ledger
	claims  map[string]*kafka.Backend // states in Kafka
	reads   reads
	chains  *chains

	stopEmbedded func() error
	cluster      *cluster.Cluster
	producers    producers
	producer     *Producer

	clock *clock

	halted context.Context // ends when Close begins
	halt   context.CancelFunc

	mu        sync.Mutex
	pipelines map[string]*pipeline
	running   sync.WaitGroup
	closed    bool
	closing   closing
}

// Open reads a configuration file and starts what it describes: it loads and
// checks every plugin and connects to the brokers. Mistakes in the file are
// reported all at once, each with its line and column.
func Open(ctx context.Context, path string, opts ...Option) (*Host, error) {
	cfg, err := config.Load(path, natives(opts)...)
	if err != nil {
		return nil, err
	}
	return open(ctx, *cfg, filepath.Dir(path), opts)
}

// New starts a host from a configuration that was built in Go. Zero values
// stand for the defaults; relative module paths start at the working directory.
// It reports every mistake at once, by the names that keys have in TOML.
func New(cfg Config, opts ...Option) (*Host, error) {
	cfg.Natives = natives(opts)
	cfg.ApplyDefaults()
	if problems := cfg.Check(); problems.Err() != nil {
		return nil, problems.Err()
	}
	return open(collect(opts).ctx, cfg, ".", opts)
}

// Load starts a host without brokers, for checking: plugins are loaded and
// initialised, chains are built. Only Close, Explain, Stats and Reload work.
func Load(ctx context.Context, cfg Config, baseDir string, opts ...Option) (*Host, error) {
	cfg.ApplyDefaults()
	h := prepare(cfg, baseDir, opts)
	h.checkOnly = true
	if err := h.loadPlugins(ctx); err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return h, nil
}

func prepare(cfg Config, baseDir string, opts []Option) *Host {
	h := &Host{
		cfg: cfg, baseDir: baseDir, clock: newClock(), opt: collect(opts),
		plugins: map[string]*plugin{}, pipelines: map[string]*pipeline{}, claims: map[string]*kafka.Backend{},
	}
	h.halted, h.halt = context.WithCancel(context.Background())
	if h.log = h.opt.logger; h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h
}

func open(ctx context.Context, cfg Config, baseDir string, opts []Option) (*Host, error) {
	h := prepare(cfg, baseDir, opts)
	if err := h.start(ctx); err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return h, nil
}

// start goes from what needs least to what needs most, so that a bad plugin is
// told before a broker is asked.
func (h *Host) start(ctx context.Context) error {
	if err := h.loadPlugins(ctx); err != nil {
		return err
	}
	if err := h.connect(ctx); err != nil {
		return err
	}
	var err error
	if h.producer, err = newProducer(h, &h.cfg.Producer, h.chains); err != nil {
		return err
	}
	return h.openLanes(ctx, h.producer)
}

func (h *Host) connect(ctx context.Context) error {
	servers := h.cfg.Cluster.BootstrapServers
	if len(servers) == 1 && servers[0] == "embedded" {
		if h.opt.embedded == nil {
			return fmt.Errorf(`cluster.bootstrap_servers: "embedded" needs a broker that this program does not have; use host.WithEmbedded, or name real brokers`)
		}
		addrs, stop, err := h.opt.embedded(ctx, &h.cfg.Cluster.Embedded)
		if err != nil {
			return err
		}
		h.stopEmbedded = stop
		h.cfg.Cluster.BootstrapServers = addrs
		// Nobody else can have made topics on a broker that starts with us.
		h.cfg.Cluster.AllowAutoCreateTopics = true
	}
	var err error
	h.cluster, err = cluster.Open(ctx, &h.cfg.Cluster, cluster.Options{Logger: h.log, Dial: h.opt.dial})
	return err
}

// errNoProducer is the error of who wants to send with a host that cannot.
var errNoProducer = errors.New("the host has no producer: it was made by Load or Connect, which start none; use Open or New")

// Producer returns the host's producer. A host that was only loaded (Load) or
// connected (Connect) has none. After Close it is still returned, and refuses
// records with klamm.ErrClosed.
func (h *Host) Producer() (*Producer, error) {
	if h.producer == nil {
		return nil, errNoProducer
	}
	return h.producer, nil
}

// Brokers returns the addresses that the host bootstraps from; those of the
// embedded broker are real ports that other clients can use.
func (h *Host) Brokers() []string { return h.cfg.Cluster.BootstrapServers }

// Close stops the pipelines, completes what is in flight until ctx ends, closes
// the plugins and then everything else. It returns the first delivery that
// Close had to give up, and may be called twice. Called from a callback of the
// producer it waits for nothing, see Producer.Close.
func (h *Host) Close(ctx context.Context) error {
	callback := h.producer != nil && h.producer.callbacks.isCaller()
	if callback {
		ctx = ended(ctx)
	}
	return h.closing.do(callback, h.stopPipelines, func() error { return h.close(ctx) })
}

func (h *Host) close(ctx context.Context) error {
	h.running.Wait()
	var errs []error
	if h.producer != nil {
		errs = append(errs, h.producer.Close(ctx))
		errs = append(errs, h.chains.closeLanes(ctx))
	}
	if h.engine != nil {
		errs = append(errs, h.closePlugins(ctx))
	}
	if h.ledger != nil {
		errs = append(errs, h.ledger.Close())
	}
	if h.cluster != nil {
		errs = append(errs, h.cluster.Close())
	}
	if h.stopEmbedded != nil {
		errs = append(errs, h.stopEmbedded())
	}
	return errors.Join(errs...)
}

// Ready returns nil when the host can take records: every plugin has an active
// generation, and every running pipeline is a member of its group, which it
// stays only while the brokers answer.
func (h *Host) Ready() error {
	if h.producer == nil || h.producer.isClosed() {
		return fmt.Errorf("host %w", klamm.ErrClosed)
	}
	var errs []error
	for name, p := range h.plugins {
		if p.run.Active() == nil {
			errs = append(errs, fmt.Errorf("plugin %q has no active generation", name))
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, p := range h.pipelines {
		if !p.ended.Load() && !p.group.Joined() {
			errs = append(errs, fmt.Errorf("pipeline %q is not in its consumer group: it is joining, or the brokers do not answer", name))
		}
	}
	return errors.Join(errs...)
}
