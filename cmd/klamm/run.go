package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	goruntime "runtime"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/admin"
	"github.com/klamm-io/klamm/internal/metrics"
)

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run [config.toml]",
		Short: "the daemon: pipelines, /metrics, /livez, /readyz, hot reload of plugins",
		Long: `Runs every [pipeline.NAME] until Ctrl-C or SIGTERM, or until all that have
stop_at_end are done. The first signal completes what is in flight, within
host.drain_timeout, and exits 0; the second one stops at once.

A changed plugin module is loaded aside and swapped in between two batches; so does
SIGHUP. A bad one is refused, and the log and /metrics say why.`,
		Example: `  klamm run config.toml
  klamm run -c prod.toml -b broker-1:9092,broker-2:9092
  kill -HUP $(pidof klamm)              reload plugin modules`,
		Args: exactly("[config.toml]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := ""
			if len(args) > 0 {
				path = args[0]
			}
			s, err := a.load(path)
			if err != nil {
				return err
			}
			return a.runHost(cmd.Context(), s)
		},
	}
}

func (a *app) runHost(ctx context.Context, s *settings) error {
	log := a.logger(s.Log)
	d := &daemon{a: a, s: s, log: log, metrics: metrics.New(version().Version, goruntime.Version())}
	if err := d.serve(); err != nil {
		return err
	}
	h, err := a.openHost(ctx, s, log, host.WithMetrics(d.metrics))
	if err != nil {
		return errors.Join(err, d.stop())
	}
	d.host(h)
	if s.embedded() {
		log.Info("the embedded broker is not Apache Kafka", "address", h.Brokers()[0])
	}
	if len(s.Pipeline) == 0 {
		log.Warn("there is no [pipeline.NAME]: only probes, metrics and the plugin API are served")
	}
	log.Info("running", "pipelines", sortedKeys(s.Pipeline), "plugins", sortedKeys(s.Plugin), "brokers", h.Brokers(), "admin", d.addr())
	err = d.run(ctx)
	return errors.Join(err, d.drain(), d.stop())
}

// daemon is `klamm run` at work.
type daemon struct {
	a       *app
	s       *settings
	log     *slog.Logger
	metrics *metrics.Metrics
	admin   *admin.Server

	mu sync.Mutex
	h  *host.Host // nil while it starts and after it has stopped
}

// serve opens the HTTP listener before anything else, so that probes get an
// answer while plugins compile.
func (d *daemon) serve() error {
	if d.s.Admin.Listen == "" {
		return nil
	}
	var err error
	d.admin, err = admin.Listen(admin.Config{
		Listen: d.s.Admin.Listen, Token: d.s.Admin.Token.Reveal(), Ready: d.ready, Metrics: d.metrics.Handler(), Plugins: d.plugins, Pipelines: d.pipelines, States: d.states, Logger: d.log,
	})
	return err
}

func (d *daemon) addr() string {
	if d.admin == nil {
		return ""
	}
	return d.admin.Addr()
}

func (d *daemon) host(h *host.Host) {
	d.mu.Lock()
	d.h = h
	d.mu.Unlock()
	d.metrics.Watch(h.Stats)
}

// plugins are the host's, for the admin listener.
func (d *daemon) plugins() admin.Plugins {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.h == nil {
		return nil
	}
	return d.h
}

// pipelines are the host's, for the admin listener.
func (d *daemon) pipelines() admin.Pipelines {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.h == nil {
		return nil
	}
	return d.h
}

// states are the host's, for the admin listener.
func (d *daemon) states() admin.States {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.h == nil {
		return nil
	}
	return d.h.States()
}

var errStarting = errors.New("the host is starting, or draining")

func (d *daemon) ready() error {
	d.mu.Lock()
	h := d.h
	d.mu.Unlock()
	if h == nil {
		return errStarting
	}
	return h.Ready()
}

// run runs the pipelines, and beside them what reloads plugins.
func (d *daemon) run(ctx context.Context) error {
	beside, stop := context.WithCancel(ctx)
	var besides sync.WaitGroup
	if d.s.Plugins.Watch == nil || *d.s.Plugins.Watch {
		besides.Go(func() {
			if err := d.h.Watch(beside); err != nil && beside.Err() == nil {
				d.log.Error("module files are not watched; SIGHUP reloads them", "error", err)
			}
		})
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	besides.Go(func() { d.reloads(beside, hangups) })
	err := d.h.Run(ctx)
	stop()
	besides.Wait()
	if errors.Is(err, context.Canceled) || errors.Is(err, errInterrupted) {
		err = nil // the first Ctrl-C: the wanted end
	}
	return err
}

func (d *daemon) reloads(ctx context.Context, hangups <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			results := d.h.Reload(ctx)
			refused := 0
			for _, r := range results {
				if r.Err != nil {
					refused++
				}
			}
			d.log.Info("reloaded", "signal", "SIGHUP", "plugins", len(results), "refused", refused)
		}
	}
}

// drain completes what is in flight and says what was done.
func (d *daemon) drain() error {
	d.mu.Lock()
	h := d.h
	d.h = nil
	d.mu.Unlock()
	patience := d.s.Host.DrainTimeout.Std()
	d.log.Info("draining", "drain_timeout", patience.String())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := h.Close(ctx)
	stats := h.Stats()
	for _, name := range sortedKeys(stats.Pipelines) {
		p := stats.Pipelines[name]
		d.log.Info("pipeline stopped", "pipeline", name, "in", p.In, "out", p.Out, "dropped", p.Dropped,
			"dead_lettered", p.DeadLettered, "failed", p.Failed, "in_flight", p.InFlight)
	}
	if d.a.json() {
		err = errors.Join(err, d.a.printRun(stats))
	}
	return err
}

func (a *app) printRun(s host.Stats) error {
	pipelines := map[string]host.Counts{}
	for name, p := range s.Pipelines {
		pipelines[name] = p.Counts
	}
	return printJSON(a.out, map[string]any{"schema": "klamm.run/1", "pipelines": pipelines})
}

func (d *daemon) stop() error {
	if d.admin == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := d.admin.Close(ctx); err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	return nil
}
