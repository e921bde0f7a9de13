package conformance_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/plugins"
	"github.com/klamm-io/klamm/plugins/dedup"
	"github.com/klamm-io/klamm/plugins/mask"
	routeby "github.com/klamm-io/klamm/plugins/route-by"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/sdk/conformance/toolchain"
	"github.com/klamm-io/klamm/sdk/plugintest"
)

// ready are the ready-made plugins. The Go ones, run natively, say what those
// of other languages must answer, texts included.
var ready = []struct {
	name     string
	register func()
	readme   plugintest.Case
}{
	{"dedup", dedup.Register, plugintest.Case{}},
	{"mask", mask.Register, plugintest.Case{}},
	{"route-by", routeby.Register, plugintest.Case{
		Hook:  abi.Partition,
		Facts: map[string]plugintest.Facts{plugintest.DefaultTopic: {Partitions: 12}},
	}},
}

// TestPlugins runs each plugin of each language through the plugin's cases and
// README, beside the Go one.
func TestPlugins(t *testing.T) {
	for _, lang := range toolchain.Languages() {
		for _, b := range ready {
			t.Run(string(lang)+"/"+b.name, func(t *testing.T) {
				folder := filepath.Join("../../plugins", b.name)
				wasm := toolchain.MustBuild(t, lang, filepath.Join(folder, string(lang)))
				ref := filepath.Join(t.TempDir(), "plugin.wasm")
				if err := os.WriteFile(ref, wasm, 0o644); err != nil {
					t.Fatal(err)
				}
				cases := plugintest.Load(t, filepath.Join(folder, "testdata", b.name+".toml"))
				plugintest.Run(t, ref, cases, plugintest.Native(b.register))
				plugintest.Readme(t, ref, filepath.Join(folder, "README.md"), b.readme)
				checkKeys(t, b.name, ref)
			})
		}
	}
}

// checkKeys compares the manifest's schema with the keys that the module knows.
func checkKeys(t *testing.T, name, ref string) {
	t.Helper()
	var m runtime.Manifest
	if err := json.Unmarshal(plugins.Manifest(name), &m); err != nil {
		t.Fatal(err)
	}
	var schema struct{ Properties map[string]json.RawMessage }
	if err := json.Unmarshal(m.ConfigSchema, &schema); err != nil {
		t.Fatal(err)
	}
	plugintest.Run(t, ref, []plugintest.Case{{
		Name:     "the keys that it knows",
		Config:   map[string]any{"no-such-key-at-all": 1},
		WantInit: `"no-such-key-at-all"; known are ` + strings.Join(slices.Sorted(maps.Keys(schema.Properties)), ", "),
	}})
}
