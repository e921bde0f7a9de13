package config

import (
	"slices"
	"testing"
)

func TestPluginSecrets(t *testing.T) {
	table := map[string]any{
		"a": Secret("one"), "b": "open", "n": int64(1),
		"list": []any{"open", Secret("two"), map[string]any{"c": Secret("three")}},
	}
	var got []string
	for _, s := range PluginSecrets(table) {
		got = append(got, string(s))
	}
	slices.Sort(got)
	if want := []string{"one", "three", "two"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
