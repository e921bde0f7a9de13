package conformance_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/sdk/conformance"
	"github.com/klamm-io/klamm/sdk/conformance/toolchain"
)

func TestGo(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	m, err := module.Resolve(t.Context(), "guests/go", "", filepath.Join(cache, "klamm"))
	if err != nil {
		t.Fatal(err)
	}
	conformance.Run(t, m.Wasm)
}

func TestGuests(t *testing.T) {
	for _, lang := range toolchain.Languages() {
		t.Run(string(lang), func(t *testing.T) {
			conformance.Run(t, toolchain.MustBuild(t, lang, filepath.Join("guests", string(lang))))
		})
	}
}
