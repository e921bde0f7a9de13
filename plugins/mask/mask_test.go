package mask_test

import (
	"testing"

	"github.com/klamm-io/klamm/plugins/mask"
	"github.com/klamm-io/klamm/sdk/plugintest"
)

func TestMask(t *testing.T) {
	plugintest.Run(t, "builtin:mask", plugintest.Load(t, "testdata/mask.toml"), plugintest.Native(mask.Register))
}

func TestReadme(t *testing.T) {
	plugintest.Readme(t, "builtin:mask", "README.md", plugintest.Case{})
}
