package runtime

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/klamm-io/klamm/runtime/guard"
)

// What guard lets through, the compiler takes or refuses in short time.
func FuzzCompile(f *testing.F) {
	f.Add(dropAll().Bytes())
	f.Add(steady().Bytes())
	named := dropAll()
	named.Custom("name", []byte{1, 4, 1, 0, 1, 'f', 2, 6, 1, 0, 1, 0, 1, 'l'})
	named.Data(0, []byte("data"))
	f.Add(named.Bytes())
	e := engineOf(f, EngineConfig{})
	f.Fuzz(func(t *testing.T, wasm []byte) {
		start := time.Now()
		m, err := e.Compile(context.Background(), "m", wasm)
		if took := time.Since(start); took > 20*time.Second {
			t.Fatalf("%d bytes took %s", len(wasm), took)
		}
		if err != nil {
			var refused *guard.Error
			var failed *LoadError
			if !errors.As(err, &refused) && !errors.As(err, &failed) {
				t.Fatalf("got %v", err)
			}
			return
		}
		if err := m.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}
