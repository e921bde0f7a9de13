package runtime_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// stdout is a Host for plugins that use nothing but the log.
type stdout struct{ runtime.Host }

func (stdout) Log(_ int32, line []byte) { fmt.Fprintf(os.Stdout, "%s\n", line) }

func Example() {
	ctx := context.Background()
	engine, err := runtime.NewEngine(ctx, runtime.EngineConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close(ctx)

	// A guest that drops the second record of each block.
	var guest wasmtest.Guest
	guest.EachRecord(abi.OnSend, abi.FieldKey,
		wasmtest.IfIndex(1, wasmtest.Answer(abi.PackVerdict(abi.Drop, 0, abi.ReasonDuplicate, 0))))

	plugin := engine.NewPlugin(runtime.PluginConfig{Name: "dedup", Grants: runtime.GrantLog})
	defer plugin.Close(ctx)
	if err := plugin.Load(ctx, guest.Bytes()); err != nil {
		log.Fatal(err)
	}
	seat, err := plugin.Seat(ctx, runtime.SeatConfig{Chain: "quakes", Lanes: 1, Host: stdout{}})
	if err != nil {
		log.Fatal(err)
	}

	var block runtime.Block
	gen := seat.Generation()
	block.Reset(gen.Fields(abi.OnSend), 0, false)
	topic := block.AddTopic("quakes", 1, 1, nil, nil)
	for _, key := range []string{"us7000abcd", "us7000abcd"} {
		block.Add(runtime.Head{Topic: topic, Partition: -1, Offset: -1, Key: []byte(key)})
	}
	verdicts, err := seat.Judge(ctx, abi.OnSend, &block)
	if err != nil {
		log.Fatal(err)
	}
	for i := range verdicts.Len() {
		v := verdicts.At(i)
		fmt.Printf("%s: %s (%s)\n", block.Key(i), v.Code, gen.Reason(v.Reason))
	}
	// Output:
	// us7000abcd: pass (other)
	// us7000abcd: drop (duplicate)
}
