package runtime_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/runtime/hostile"
	"github.com/klamm-io/klamm/sdk/abi"
)

// Hostile modules cannot tell an instance that was restored after a fault from
// one that was made anew.
func TestCorpusIsRestoredAsMadeAnew(t *testing.T) {
	e, err := runtime.NewEngine(context.Background(), runtime.EngineConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	faulted, restored := 0, int64(0)
	for i, c := range hostile.Corpus() {
		if c.Slow || c.Fate == hostile.Refused || testing.Short() && i%5 != 0 {
			continue
		}
		same := false
		var got, want []string
		// A deadline, a clock or chance may make a difference: twice the same
		// while the other is different is chance too, and seldom often in a row.
		for try := 0; try < 12 && !same; try++ {
			var n int64
			got, n = tell(t, e, c.Wasm, false)
			want, _ = tell(t, e, c.Wasm, true)
			if same = slices.Equal(got, want); same {
				restored += n
				faulted += b2i(n > 0)
				break
			}
			again, _ := tell(t, e, c.Wasm, true)
			same = !slices.Equal(again, want) // it never does the same twice
		}
		if !same {
			t.Errorf("%s:\nrestored  %v\nmade anew %v", c.Name, got, want)
		}
	}
	t.Logf("%d modules were restored after faults, %d times", faulted, restored)
	if faulted < 50 && !testing.Short() {
		t.Errorf("%d modules of the corpus were restored", faulted)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// tell says what the module did with a few batches.
func tell(t *testing.T, e *runtime.Engine, wasm []byte, anew bool) (did []string, restored int64) {
	t.Helper()
	ctx := context.Background()
	p := e.NewPlugin(runtime.PluginConfig{
		Name: "hostile", Timeout: 10 * time.Millisecond, Grants: runtime.GrantAll, Secrets: map[string][]byte{"s": []byte("secret")},
	})
	defer p.Close(ctx)
	if p.Load(ctx, wasm) != nil {
		return nil, 0
	}
	if anew {
		p.MakeAnew()
	}
	s, err := p.Seat(ctx, runtime.SeatConfig{Chain: "c", Topics: []string{"t"}, Lanes: 1, Host: runtime.QuietHost()})
	if err != nil {
		return nil, 0
	}
	var b runtime.Block
	for n := range 4 {
		for _, h := range []abi.Hook{abi.OnSend, abi.OnConsume, abi.Partition} {
			did = append(did, ask(ctx, s, h, &b, n))
		}
	}
	restored, _ = p.Recoveries()
	return did, restored
}

func ask(ctx context.Context, s *runtime.Seat, h abi.Hook, b *runtime.Block, n int) string {
	b.Reset(abi.FieldKey|abi.FieldValue|abi.FieldTimestamp, 0, false)
	topic := b.AddTopic("t", 3, 1, nil, nil)
	for i := range 1 + 3*(n%2) {
		b.Add(runtime.Head{Topic: topic, Partition: -1, Key: []byte("key"), Value: []byte("value"), TimestampMS: int64(n + i)})
	}
	v, err := s.Judge(ctx, h, b)
	if err != nil {
		return "fault" // which one may depend on the time that the machine had
	}
	out := ""
	for i := range v.Len() {
		x := v.At(i)
		out += fmt.Sprintf("%d/%d/%d/%q/%d ", x.Code, x.Reason, x.Partition, x.Text, len(x.Edits))
	}
	return out
}
