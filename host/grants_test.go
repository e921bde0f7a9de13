package host

import (
	"slices"
	"testing"

	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/plugins"
)

// A plugin gets what its configuration grants; a builtin what its manifest names.
func TestGrants(t *testing.T) {
	builtin := func(name string) *module.Module { return &module.Module{Manifest: plugins.Manifest(name)} }
	file := &module.Module{Path: "p.wasm"}
	for _, tc := range []struct {
		name string
		cfg  config.Plugin
		mod  *module.Module
		want []string
	}{
		{"by default", config.Plugin{}, file, []string{"log", "metrics", "clock", "random"}},
		{"none", config.Plugin{Grants: []string{}}, file, nil},
		{"a list", config.Plugin{Grants: []string{"log"}}, file, []string{"log"}},
		{"with a state", config.Plugin{Grants: []string{"log"}, State: "ids"}, file, []string{"log", "state"}},
		{"with secrets", config.Plugin{Grants: []string{}, Secrets: map[string]config.Secret{"k": "v"}}, file, []string{"hmac"}},
		{"dedup", config.Plugin{}, builtin("dedup"), []string{"log", "metrics", "state"}},
		{"mask", config.Plugin{}, builtin("mask"), []string{"log", "metrics", "hmac"}},
		{"route-by", config.Plugin{}, builtin("route-by"), []string{"log", "metrics"}},
		{"route-by, granted more", config.Plugin{Grants: []string{"clock", "random"}}, builtin("route-by"), []string{"log", "metrics"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g, err := grantsOf(&tc.cfg, tc.mod)
			if err != nil || !slices.Equal(g.Names(), tc.want) {
				t.Errorf("got %v, %v; want %v", g.Names(), err, tc.want)
			}
		})
	}
	if _, err := grantsOf(&config.Plugin{Grants: []string{"files"}}, file); err == nil {
		t.Error("an unknown capability is no error")
	}
}
