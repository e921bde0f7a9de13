package plugintest_test

import (
	"bytes"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/sdk/plugintest"
	"github.com/klamm-io/klamm/sdk/plugintest/internal/everything"
)

// TestSDK runs every corner of the SDK natively and as a module.
func TestSDK(t *testing.T) {
	plugintest.Run(t, "internal/everything/wasm", plugintest.Load(t, "testdata/everything.toml"), plugintest.Native(everything.Register))
}

// TestGuestWithoutSDK runs the examples of docs/abi.md: keyless.wat, of which
// wat2wasm of wabt 1.0 made the module, and the same in C.
func TestGuestWithoutSDK(t *testing.T) {
	for _, file := range []string{"testdata/keyless.wasm", "testdata/keyless-c.wasm"} {
		plugintest.Run(t, file, []plugintest.Case{{
			Name:    "records without a key are dropped",
			Records: []klamm.Record{{Key: []byte("a")}, {Value: []byte("v")}, {Key: []byte{}}},
			Want:    []plugintest.Want{{}, {Verdict: abi.Drop, Reason: "missing"}, {}},
		}})
	}
}

// TestLargeEdits needs more room than a block has at first: the runtime calls
// again, and nothing is counted twice.
func TestLargeEdits(t *testing.T) {
	const n, size = 8, 40_000
	c := plugintest.Case{
		Name:        "eight values of 40 kB",
		WantMetrics: map[string]int64{"seen_total": n, "count_total": n, "sizes": n},
		WantState:   map[string]string{"k": "v"},
	}
	do := func(step string) klamm.Header { return klamm.Header{Key: "do", Value: []byte(step)} }
	for range n {
		c.Records = append(c.Records, klamm.Record{Headers: []klamm.Header{
			do("count:1"), do("observe"), do("put:k=v"), do("fill:40000"), do("remove:do"),
		}})
		c.Want = append(c.Want, plugintest.Want{
			Verdict: abi.Edit,
			Record:  &klamm.Record{Value: bytes.Repeat([]byte("x"), size)},
		})
	}
	plugintest.Run(t, "internal/everything/wasm", []plugintest.Case{c}, plugintest.Native(everything.Register))
}
