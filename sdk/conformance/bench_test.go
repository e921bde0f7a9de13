package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/sdk/conformance/toolchain"
)

// forgetful answers every claim with "new" and keeps nothing.
type forgetful struct{ *host }

func (forgetful) AddMetric(int32, int64)         {}
func (forgetful) ObserveMetric(int32, float64)   {}
func (forgetful) Claim(int, []byte, int64) int32 { return abi.ClaimNew }

// BenchmarkJudge measures a record's share of a batch of 64 through each plugin
// of each language, with the sandbox and the encoding of the block. Values have
// 200 bytes.
func BenchmarkJudge(b *testing.B) {
	languages := append([]module.Language{module.Go}, toolchain.Languages()...)
	for _, bench := range []struct {
		name, plugin, config string
		hook                 abi.Hook
	}{
		{"route", "route-by", `{"by":"header:message-id","spread":4}`, abi.Partition},
		{"routeJSON", "route-by", `{"by":"json:properties.net"}`, abi.Partition},
		{"dedup", "dedup", `{}`, abi.OnSend},
		{"dedupHeader", "dedup", `{"id":"header:message-id"}`, abi.OnSend},
		{"mask", "mask", `{"fields":["email"]}`, abi.OnSend},
		{"maskHash", "mask", `{"fields":["email"],"mode":"hash"}`, abi.OnSend},
	} {
		for _, lang := range languages {
			b.Run(bench.name+"/"+string(lang), func(b *testing.B) {
				benchmarkJudge(b, guestOf(b, lang, bench.plugin), bench.config, bench.hook)
			})
		}
	}
}

func guestOf(b *testing.B, lang module.Language, plugin string) []byte {
	b.Helper()
	folder := filepath.Join("../../plugins", plugin)
	if lang != module.Go {
		return toolchain.MustBuild(b, lang, filepath.Join(folder, string(lang)))
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	m, err := module.Resolve(b.Context(), filepath.Join(folder, "wasm"), "", filepath.Join(cache, "klamm"))
	if err != nil {
		b.Fatal(err)
	}
	return m.Wasm
}

func benchmarkJudge(b *testing.B, wasm []byte, config string, hook abi.Hook) {
	ctx := b.Context()
	engine, err := runtime.NewEngine(ctx, runtime.EngineConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close(ctx)
	p := engine.NewPlugin(runtime.PluginConfig{Name: pluginName, Config: []byte(config), Grants: runtime.GrantAll, Timeout: callLimit})
	defer p.Close(ctx)
	if err := p.Load(ctx, wasm); err != nil {
		b.Fatal(err)
	}
	seat, err := p.Seat(ctx, runtime.SeatConfig{Lanes: 1, Host: forgetful{newHost()}})
	if err != nil {
		b.Fatal(err)
	}
	value := fmt.Appendf(nil, `{"id":"uw61345682","properties":{"net":"uw","mag":0.31,"place":%q},"email":"ann@example.com"}`,
		"37km NNE of Amboy, Washington, and some more of it, so that the whole value has 200 bytes, no more, no l")
	fields := seat.Generation().Fields(hook)
	var block runtime.Block
	b.ReportAllocs()
	for b.Loop() {
		block.Reset(fields, 0, false)
		topic := block.AddTopic("quakes", 12, 1, nil, nil)
		for i := range 64 {
			block.Add(runtime.Head{Topic: topic, Partition: -1, Offset: -1, Key: []byte("uw61345682"), Value: value, Ref: uint64(i) + 1, Headers: 1})
			block.AddHeader("message-id", []byte("7f3a"))
		}
		if _, err := seat.Judge(ctx, hook, &block); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/record")
	b.ReportMetric(float64(len(wasm)), "module-bytes")
}
