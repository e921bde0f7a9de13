package plugins_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/klamm-io/klamm/plugins"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// freshHost answers every claim with "new".
type freshHost struct{}

func (freshHost) Log(int32, []byte)                         {}
func (freshHost) DefineMetric(int32, string) (int32, error) { return 0, nil }
func (freshHost) AddMetric(int32, int64)                    {}
func (freshHost) ObserveMetric(int32, float64)              {}
func (freshHost) Claim(int, []byte, int64) int32            { return abi.ClaimNew }
func (freshHost) StateGet([]byte) ([]byte, bool)            { return nil, false }
func (freshHost) StatePut(_, _ []byte, _ int64) error       { return nil }
func (freshHost) Value(int) []byte                          { return nil }
func (freshHost) Headers(int, func(string, []byte))         {}

// BenchmarkJudge measures a record's share of a batch of 64 through each plugin,
// with the sandbox and the encoding of the block.
func BenchmarkJudge(b *testing.B) {
	value := []byte(fmt.Sprintf(`{"id":"uw61345682","properties":{"net":"uw","mag":0.31,"place":%q},"email":"ann@example.com"}`, "37km NNE of Amboy, Washington, and some more to make it 200 bytes"))
	for _, bench := range []struct {
		name, plugin, config string
		hook                 abi.Hook
	}{
		{"dedup by key", "dedup", `{}`, abi.OnSend},
		{"dedup by header", "dedup", `{"id":"header:message-id"}`, abi.OnSend},
		{"dedup by JSON", "dedup", `{"id":["json:id"]}`, abi.OnSend},
		{"route-by header", "route-by", `{"by":"header:message-id","spread":4}`, abi.Partition},
		{"route-by JSON", "route-by", `{"by":"json:properties.net"}`, abi.Partition},
		{"mask fixed", "mask", `{"fields":["email"]}`, abi.OnSend},
	} {
		b.Run(bench.name, func(b *testing.B) {
			ctx := b.Context()
			engine, err := runtime.NewEngine(ctx, runtime.EngineConfig{})
			if err != nil {
				b.Fatal(err)
			}
			defer engine.Close(ctx)
			wasm, env, _ := plugins.Builtin(bench.plugin)
			p := engine.NewPlugin(runtime.PluginConfig{Name: "p", Config: []byte(bench.config), Env: env, Grants: runtime.GrantAll, Timeout: 10 * time.Second})
			defer p.Close(ctx)
			if err := p.Load(ctx, wasm); err != nil {
				b.Fatal(err)
			}
			seat, err := p.Seat(ctx, runtime.SeatConfig{Lanes: 1, Host: freshHost{}})
			if err != nil {
				b.Fatal(err)
			}
			fields := seat.Generation().Fields(bench.hook)
			var block runtime.Block
			b.ReportAllocs()
			for b.Loop() {
				block.Reset(fields, 0, false)
				topic := block.AddTopic("quakes", 12, 1, nil, nil)
				for i := range 64 {
					block.Add(runtime.Head{Topic: topic, Partition: -1, Offset: -1, Key: []byte("uw61345682"), Value: value, Ref: uint64(i) + 1, Headers: 1})
					block.AddHeader("message-id", []byte("7f3a"))
				}
				if _, err := seat.Judge(ctx, bench.hook, &block); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/record")
		})
	}
}
