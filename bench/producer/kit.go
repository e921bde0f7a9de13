package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/klamm-io/klamm/bench/internal/child"
	"github.com/klamm-io/klamm/bench/internal/guests"
	"github.com/klamm-io/klamm/internal/module"
)

// kit builds what contenders need besides this program, once, and skips those
// that cannot be had here.
type kit struct {
	o       options
	log     io.Writer
	cache   string
	root    string
	modules map[string]map[string]string // by language, then plugin
	native  string                       // the driver of librdkafka
	java    *javaTools
	told    map[string]bool
}

var otherSettings = map[string]string{
	"librdkafka": "idempotent, linger 5 ms, batches of 1 MB (its defaults but for linger), 1,000,000 messages queued, deliveries on a channel",
	"java":       "ProducerPerformance: idempotent, linger 5 ms, batches of 16 KiB, 32 MiB of buffer; records have no key; its process starts anew each round",
}

// entries are the contenders in the order of the tables.
func (k *kit) entries() (all []contender) {
	for _, name := range k.o.clients {
		for _, plugins := range pluginsOf(name) {
			if slices.Contains(k.o.plugins, plugins) {
				all = append(all, contender{name: name, plugins: plugins})
			}
		}
	}
	return all
}

// pluginsOf says with which plugins a client can run.
func pluginsOf(name string) []string {
	switch name {
	case "klamm", "klamm-tuned":
		return []string{"none", "go", "c"}
	case "franz-go", "franz-go-tuned":
		return []string{"none", "native"}
	}
	return []string{"none"}
}

// open starts the contenders for one size and codec. Those that it returns must
// be closed even after an error.
func (k *kit) open(ctx context.Context, b counter, size int, codec string) (all []*contender, err error) {
	for _, c := range k.entries() {
		c.topic = topicOf(c.name, c.plugins, size, codec)
		if err := b.topic(c.topic, k.o.partitions); err != nil {
			return all, err
		}
		if c.driver, err = k.start(ctx, b, &c, size, codec); err != nil {
			var gone *missing
			if !errors.As(err, &gone) {
				return all, fmt.Errorf("%s, plugins %s: %w", c.name, c.plugins, err)
			}
			k.skip(c.name, gone)
			continue
		}
		all = append(all, &c)
	}
	if len(all) == 0 {
		return nil, errors.New("nobody is left to measure")
	}
	return all, nil
}

// missing says why a contender cannot take part.
type missing struct{ why error }

func (m *missing) Error() string { return m.why.Error() }

func (k *kit) skip(name string, gone *missing) {
	if k.told == nil {
		k.told = map[string]bool{}
	}
	if !k.told[name] {
		fmt.Fprintf(k.log, "skip %s: %v\n", name, gone)
	}
	k.told[name] = true
}

func (k *kit) start(ctx context.Context, b counter, c *contender, size int, codec string) (driver, error) {
	if err := k.prepare(); err != nil {
		return nil, err
	}
	cfg := k.config(b, c, size, codec)
	switch {
	case c.name == "java":
		return k.startJava(ctx, cfg)
	case c.plugins == "go" || c.plugins == "c":
		var err error
		if cfg.Modules, err = k.plugins(ctx, c.plugins); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	if c.name != "librdkafka" {
		p, err := child.StartSelf(child.ClientCore, driveCommand, string(text))
		return goDriver{p}, err
	}
	if err := k.buildNative(ctx); err != nil {
		return nil, err
	}
	p, err := child.Start(child.ClientCore, k.native, driveCommand, string(text))
	return goDriver{p}, err
}

// prepare finds the folders.
func (k *kit) prepare() (err error) {
	if k.root != "" {
		return nil
	}
	if k.root, err = guests.Root(); err != nil {
		return err
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	k.cache = filepath.Join(dir, "klamm-bench")
	k.modules = map[string]map[string]string{}
	return os.MkdirAll(k.cache, 0o700)
}

// plugins returns the ready-made plugins in a language: those in C lie there,
// those in Go are built.
func (k *kit) plugins(ctx context.Context, lang string) (map[string]string, error) {
	if m := k.modules[lang]; m != nil {
		return m, nil
	}
	m := map[string]string{}
	for _, name := range []string{"dedup", "route-by"} {
		folder := filepath.Join(k.root, "..", "plugins", name)
		m[name] = filepath.Join(folder, "c", name+".wasm")
		if lang == "go" {
			path, err := module.Build(ctx, filepath.Join(folder, "wasm"), "", k.cache)
			if err != nil {
				return nil, err
			}
			m[name] = path
		}
	}
	k.modules[lang] = m
	return m, nil
}

// buildNative builds the driver of librdkafka, which needs cgo.
func (k *kit) buildNative(ctx context.Context) error {
	if k.native != "" {
		return nil
	}
	out := filepath.Join(k.cache, "drive-librdkafka")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, ".")
	cmd.Dir = filepath.Join(k.root, "producer", "librdkafka")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if said, err := cmd.CombinedOutput(); err != nil {
		return &missing{fmt.Errorf("its driver needs cgo and a C compiler: %w: %s", err, said)}
	}
	k.native = out
	return nil
}
