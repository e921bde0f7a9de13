package plugintest_test

import (
	"testing"

	"github.com/klamm-io/klamm/sdk/plugintest"
	"github.com/klamm-io/klamm/sdk/plugintest/internal/everything"
)

// TestSDK runs every corner of the SDK natively and as a module.
func TestSDK(t *testing.T) {
	plugintest.Run(t, "internal/everything/wasm", plugintest.Load(t, "testdata/everything.toml"), plugintest.Native(everything.Register))
}
