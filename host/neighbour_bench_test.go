package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/runtime/hostile"
)

// BenchmarkNeighbours measures what a plugin that never returns does to the
// records of other chains: 20,000 a second are offered to one, alone, and beside
// a chain that is always in a call of such a plugin. An iteration is a second.
//
//	go test ./host -run - -bench Neighbours -benchtime 10x
func BenchmarkNeighbours(b *testing.B) {
	for _, procs := range []int{1, 2} {
		for _, beside := range []bool{false, true} {
			name := map[bool]string{false: "alone", true: "beside"}[beside]
			b.Run(fmt.Sprintf("%s/procs=%d", name, procs), func(b *testing.B) {
				defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(procs))
				neighbours(b, beside)
			})
		}
	}
}

const offered = 20_000

func neighbours(b *testing.B, beside bool) {
	b.Helper()
	br := startBroker(b, 1, "t", "bad")
	h := newHost(b, br, host.Config{
		Plugins: host.PluginsConfig{
			CacheDir: filepath.Join(b.TempDir(), "cache"),
			Breaker:  host.BreakerConfig{Failures: 1_000_000}, // it is called all the time
		},
		Plugin: map[string]host.PluginConfig{
			"v":     {Module: "testdata/version/version.wasm"},
			"spins": {Module: endless(b)},
		},
		Chain: map[string]host.ChainConfig{
			"c":   {Topics: []string{"t"}, OnSend: []string{"v"}},
			"bad": {Topics: []string{"bad"}, OnSend: []string{"spins"}},
		},
	})
	p := producerOf(b, h)
	ctx, cancel := context.WithCancel(context.Background())
	var bad sync.WaitGroup
	calls := 0
	if beside {
		bad.Go(func() {
			for ; ctx.Err() == nil; calls++ {
				if _, err := p.Send(context.Background(), &klamm.Record{Topic: "bad"}); err == nil {
					b.Error("the plugin returned")
				}
			}
		})
	}
	tr := newTraffic(p, offered*b.N, 64)
	begun := time.Now()
	go tr.run(b, offered)
	<-tr.stopped
	took := time.Since(begun)
	cancel()
	bad.Wait()
	if err := p.Flush(within(b)); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(tr.sent.Load())/took.Seconds(), "records/s")
	b.ReportMetric(float64(tr.p99(0))/1e6, "p99-ms")
	b.ReportMetric(float64(calls)/took.Seconds(), "stopped/s")
}

// endless writes a plugin whose on_send never returns, and returns the file.
func endless(b *testing.B) string {
	b.Helper()
	for _, c := range hostile.Corpus() {
		if c.Name == "endless loop: br" {
			file := filepath.Join(b.TempDir(), "endless.wasm")
			if err := os.WriteFile(file, c.Wasm, 0o600); err != nil {
				b.Fatal(err)
			}
			return file
		}
	}
	b.Fatal("the corpus has no such module any more")
	return ""
}
