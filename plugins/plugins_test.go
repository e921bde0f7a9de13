package plugins_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/plugins"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/plugintest"
)

func TestBuiltin(t *testing.T) {
	for _, name := range plugins.Names() {
		wasm, env, ok := plugins.Builtin(name)
		if !ok || !strings.HasPrefix(string(wasm), "\x00asm") || len(wasm) > 32<<10 || env != nil {
			t.Errorf("Builtin(%q) = %d bytes, %v, %v", name, len(wasm), env, ok)
		}
		if !bytes.HasSuffix(wasm, plugins.Manifest(name)) {
			t.Errorf("the module of %q does not end with its manifest", name)
		}
	}
	if _, _, ok := plugins.Builtin("dedupe"); ok {
		t.Error("Builtin knows a plugin that does not exist")
	}
	if plugins.Manifest("dedupe") != nil {
		t.Error("Manifest knows a plugin that does not exist")
	}
}

// TestConfigSamples loads each plugin's sample as klamm check does.
func TestConfigSamples(t *testing.T) {
	for _, name := range plugins.Names() {
		if _, err := config.Load(filepath.Join(name, "config.toml")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestManifests compares each manifest's schema with the keys that the plugin
// says it knows.
func TestManifests(t *testing.T) {
	for _, name := range plugins.Names() {
		t.Run(name, func(t *testing.T) {
			var m runtime.Manifest
			if err := json.Unmarshal(plugins.Manifest(name), &m); err != nil {
				t.Fatal(err)
			}
			var schema struct {
				Properties map[string]json.RawMessage
				Required   []string
			}
			if err := json.Unmarshal(m.ConfigSchema, &schema); err != nil {
				t.Fatal(err)
			}
			keys := slices.Sorted(maps.Keys(schema.Properties))
			c := plugintest.Case{
				Name:     "the keys that it knows",
				Config:   map[string]any{"no-such-key-at-all": 1},
				WantInit: `"no-such-key-at-all"; known are ` + strings.Join(keys, ", "),
			}
			plugintest.Run(t, "builtin:"+name, []plugintest.Case{c})
			if m.Name != name || m.Protects != (name == "mask") || (m.State == "host") != (name == "dedup") {
				t.Errorf("manifest: %+v", m)
			}
		})
	}
}
