package mask_test

import (
	"strings"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/plugins/mask"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/sdk/plugintest"
)

func TestMask(t *testing.T) {
	plugintest.Run(t, "builtin:mask", plugintest.Load(t, "testdata/mask.toml"), plugintest.Native(mask.Register))
}

func TestReadme(t *testing.T) {
	plugintest.Readme(t, "builtin:mask", "README.md", plugintest.Case{})
}

// TestLargeValue masks values that do not fit into a block: they are fetched from
// the host, and their edits need more room than a block has.
func TestLargeValue(t *testing.T) {
	filler := strings.Repeat("0123456789abcdef", 2<<20/16)
	value := func(email string) []byte { return []byte(`{"filler":"` + filler + `","email":"` + email + `"}`) }
	c := plugintest.Case{Name: "2 MiB", Config: map[string]any{"fields": "email"}}
	for range 2 {
		c.Records = append(c.Records, klamm.Record{Value: value("ann@example.com")})
		c.Want = append(c.Want, plugintest.Want{Verdict: abi.Edit, Record: &klamm.Record{Value: value("***")}})
	}
	plugintest.Run(t, "builtin:mask", []plugintest.Case{c}, plugintest.Native(mask.Register))
}
