package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/klamm-io/klamm/internal/config"
)

// localBroker is where `klamm broker` listens unless it is told otherwise.
const localBroker = "127.0.0.1:9092"

// settings are a configuration and where it came from.
type settings struct {
	*config.Config
	path    string // "" when there is no file
	baseDir string // relative module paths start here
	// assumedLocal is whether the brokers are `klamm broker`'s for want of
	// better knowledge.
	assumedLocal bool
}

// load finds and reads the configuration: the argument, --config, $KLAMM_CONFIG,
// ./config.toml, or the defaults.
func (a *app) load(arg string) (*settings, error) {
	return a.loadBy(arg, func(path string) (*config.Config, error) { return config.Load(path) })
}

// loadOffline is load for commands that reach no broker.
func (a *app) loadOffline() (*settings, error) { return a.loadBy("", config.LoadOffline) }

func (a *app) loadBy(arg string, load func(path string) (*config.Config, error)) (*settings, error) {
	path, err := a.findConfig(arg)
	if err != nil {
		return nil, err
	}
	if path == "" {
		cfg := config.Default()
		s := &settings{Config: &cfg, baseDir: "."}
		a.override(s)
		return s, nil
	}
	cfg, err := load(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	s := &settings{Config: cfg, path: path, baseDir: folderOf(path)}
	a.override(s)
	return s, nil
}

func (a *app) findConfig(arg string) (string, error) {
	if arg != "" && a.configPath != "" && arg != a.configPath {
		return "", usagef("two configuration files: %q and --config %q; give one", arg, a.configPath)
	}
	for _, p := range []string{arg, a.configPath, a.env("KLAMM_CONFIG")} {
		if p != "" {
			return p, nil
		}
	}
	if _, err := os.Stat("config.toml"); err == nil {
		return "config.toml", nil
	}
	return "", nil
}

// unreadable makes a file that cannot be opened a configuration error.
func unreadable(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &failure{err: fmt.Errorf("configuration %q does not exist", path), code: exitConfig, do: "give a file with --config, or leave it out to use the defaults"}
	}
	if problems := (*config.Problems)(nil); errors.As(err, &problems) {
		return err
	}
	return &failure{err: fmt.Errorf("configuration %q: %w", path, err), code: exitConfig}
}

func (a *app) override(s *settings) {
	if len(a.brokers) > 0 {
		s.Cluster.BootstrapServers = a.brokers
	}
}

// asClient is for commands that talk to a broker which runs elsewhere: there,
// "embedded" means the one that `klamm broker` or `klamm run` has opened.
func (s *settings) asClient() {
	if !s.embedded() {
		return
	}
	addr := s.Cluster.Embedded.Listen
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "0" {
		addr = localBroker
	}
	s.Cluster.BootstrapServers, s.assumedLocal = []string{addr}, true
}

func (s *settings) embedded() bool {
	return len(s.Cluster.BootstrapServers) == 1 && s.Cluster.BootstrapServers[0] == "embedded"
}

// logger writes the host's log to the talk stream, as [log] says.
func (a *app) logger(cfg config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	if a.verbose {
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" || cfg.Format != "text" && !a.talkTerminal {
		return slog.New(slog.NewJSONHandler(a.talk, options))
	}
	return slog.New(slog.NewTextHandler(a.talk, options))
}

// quietLogger is for commands whose talk is their own: warnings and errors.
func (a *app) quietLogger(cfg config.Log) *slog.Logger {
	if !a.verbose {
		cfg.Level = "warn"
	}
	if cfg.Format == "" || cfg.Format == "auto" {
		cfg.Format = "text"
	}
	return a.logger(cfg)
}

// absolute makes relative module paths start at the configuration file's folder
// even for a host that is built from the settings.
func (s *settings) absolute() {
	for name, p := range s.Plugin {
		if !strings.HasPrefix(p.Module, "builtin:") && !filepath.IsAbs(p.Module) {
			p.Module = filepath.Join(s.baseDir, p.Module)
			s.Plugin[name] = p
		}
	}
	for name, st := range s.State {
		if st.Path != "" && !filepath.IsAbs(st.Path) {
			st.Path = filepath.Join(s.baseDir, st.Path)
			s.State[name] = st
		}
	}
}

// folderOf is where a file's relative paths start.
func folderOf(path string) string { return filepath.Dir(path) }
