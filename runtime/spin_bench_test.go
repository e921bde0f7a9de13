package runtime

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"testing"
	"time"

	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

const spinTimeout = 50 * time.Millisecond

// BenchmarkSpin measures what a guest that never returns does to others: how
// long after its deadline it is stopped, and how long a collection that is asked
// for meanwhile takes. Without a meter both are for ever. That a loop in Go takes
// the guest's place shows what of it is the machine and Go itself.
func BenchmarkSpin(b *testing.B) {
	g := new(w.Guest)
	g.Hook(abi.OnSend, abi.FieldKey, w.Loop, w.Br(0), w.End, w.I64Const(0))
	s := sit(b, load(b, newEngine(b), g, PluginConfig{Timeout: spinTimeout}), newFakeHost())
	keys := withKeys("a")
	for _, spinner := range []struct {
		name string
		spin func() error
	}{
		{"guest", func() error {
			if _, err := s.Judge(context.Background(), abi.OnSend, keys); !errors.As(err, new(*DeadlineError)) {
				return fmt.Errorf("the guest was not stopped: %v", err)
			}
			return nil
		}},
		{"go", func() error {
			for begun := time.Now(); time.Since(begun) < spinTimeout; {
			}
			return nil
		}},
	} {
		for _, procs := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/procs=%d", spinner.name, procs), func(b *testing.B) { spinBeside(b, procs, spinner.spin) })
		}
	}
}

func spinBeside(b *testing.B, procs int, spin func() error) {
	b.Helper()
	defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(procs))
	stop, collected := make(chan struct{}), make(chan []time.Duration)
	go func() { collected <- collect(stop) }()
	var late []time.Duration
	for b.Loop() {
		begun := time.Now()
		if err := spin(); err != nil {
			b.Fatal(err)
		}
		late = append(late, time.Since(begun)-spinTimeout)
	}
	close(stop)
	reportSpread(b, "late", late)
	reportSpread(b, "gc", <-collected)
	b.ReportMetric(0, "ns/op")
}

// collect asks for a collection every few milliseconds until stop.
func collect(stop <-chan struct{}) (took []time.Duration) {
	for {
		select {
		case <-stop:
			return took
		case <-time.After(7 * time.Millisecond):
			begun := time.Now()
			goruntime.GC()
			took = append(took, time.Since(begun))
		}
	}
}

func reportSpread(b *testing.B, what string, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e6, what+"-median-ms")
	b.ReportMetric(float64(took[len(took)*99/100])/1e6, what+"-p99-ms")
	b.ReportMetric(float64(took[len(took)-1])/1e6, what+"-max-ms")
}
