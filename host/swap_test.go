package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// Versions are swapped under load: no record is lost or ends twice, each was
// judged by one version, later ones never by an earlier version, and nothing is
// left of those that are gone.
func TestSwapsUnderLoad(t *testing.T) {
	s := swaps{count: 100, most: 4 << 20, passOne: 64}
	if testing.Short() {
		s.count = 20
	}
	s.run(t)
	t.Logf("%d swaps, %d records", s.count, s.tr.sent.Load())
}

// BenchmarkSwaps swaps while records come at a steady rate, and checks what
// TestSwapsUnderLoad does. A thousand swaps take about a minute and a half:
//
//	go test ./host -run - -bench Swaps -benchtime 1000x
func BenchmarkSwaps(b *testing.B) {
	s := swaps{
		count: b.N, rate: 110_000, pause: 40 * time.Millisecond, before: 10 * time.Second,
		// Few are written, as the broker keeps them, in this process.
		passOne: 8192,
	}
	if b.N < 10 {
		s.before = time.Second
	}
	s.most = s.rate * (int(s.before/time.Second) + b.N/10 + 10)
	s.run(b)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(s.tr.sent.Load())/s.took.Seconds(), "records/s")
	b.ReportMetric(float64(s.tr.p99(0))/1e6, "p99-before-ms")
	b.ReportMetric(float64(s.tr.p99(1))/1e6, "p99-swapping-ms")
	b.ReportMetric(float64(s.longest)/1e6, "deploy-max-ms")
	b.Logf("after %d swaps: %+v; at the end: %+v; %d KiB of it are the test's", s.count/5, s.early, s.late, s.tr.kept())
	if s.early.RSS > 0 {
		b.ReportMetric(100*float64(s.late.RSS-s.early.RSS)/float64(s.early.RSS-s.tr.kept()), "%RSS")
	}
}

// swaps are swaps under load, and what came of them.
type swaps struct {
	count   int
	rate    int           // records a second, 0: as fast as they go
	pause   time.Duration // between swaps
	before  time.Duration // with load alone
	most    int           // records
	passOne int           // of so many records one is written

	tr          *traffic
	took        time.Duration
	longest     time.Duration // that a swap took
	early, late holding       // after a fifth of the swaps, and at the end
}

const (
	swapVersions = 50 // modules that are swapped in by turns
	unjudged     = 1 << 15
)

func (s *swaps) run(t testing.TB) {
	t.Helper()
	b := startBroker(t, 1, "t")
	h := newHost(t, b, host.Config{
		Plugins: host.PluginsConfig{CacheDir: filepath.Join(t.TempDir(), "cache")},
		Plugin:  map[string]host.PluginConfig{"v": {Module: "testdata/version/version.wasm", Timeout: host.Duration(10 * time.Second)}},
		Chain:   map[string]host.ChainConfig{"c": {Topics: []string{"t"}, OnSend: []string{"v"}}},
	})
	var modules [swapVersions][]byte
	for n := range modules { // compiled from here on
		modules[n] = version(t, n)
		deploy(t, h, modules[n])
	}
	deploy(t, h, modules[0])
	s.tr = newTraffic(producerOf(t, h), s.most, s.passOne)
	begun := time.Now()
	go s.tr.run(t, s.rate)
	s.tr.await(t, 10_000)
	time.Sleep(s.before)
	s.tr.phase.Store(1)
	s.swap(t, h, &modules)
	close(s.tr.stop)
	<-s.tr.stopped
	s.took = time.Since(begun)
	if err := s.tr.p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	s.late = held(h)
	s.tr.check(t, s.count)
	n := int(s.tr.sent.Load())
	balanced(t, s.tr.p.Counts(), int64(n))
	s.tr.checkWritten(t, b, n)
	s.checkHeld(t)
}

// swap swaps, now and then to a module that is refused.
func (s *swaps) swap(t testing.TB, h *host.Host, modules *[swapVersions][]byte) {
	t.Helper()
	for n := 1; n <= s.count && !t.Failed(); n++ {
		begun := time.Now()
		deploy(t, h, modules[n%swapVersions])
		s.longest = max(s.longest, time.Since(begun))
		if n%10 == 0 {
			if _, err := h.Deploy(context.Background(), "v", modules[0][:100], nil); err == nil {
				t.Error("half a module was deployed")
			}
		}
		if n == max(s.count/5, 1) {
			s.early = held(h)
		}
		s.tr.await(t, s.tr.sent.Load()+500) // some records for this version
		time.Sleep(s.pause)
	}
}

// checkHeld compares what is held at the end with what was before.
func (s *swaps) checkHeld(t testing.TB) {
	t.Helper()
	grown := func(late, early int) bool { return late > early+early/20+2 }
	if grown(s.late.Goroutines, s.early.Goroutines) || grown(s.late.Descriptors, s.early.Descriptors) {
		t.Errorf("something leaks: %+v, then %+v", s.early, s.late)
	}
	if s.late.Memory != s.early.Memory {
		t.Errorf("instances hold %d bytes, held %d", s.late.Memory, s.early.Memory)
	}
}

// holding is what a process holds.
type holding struct {
	Goroutines, Descriptors int
	Memory                  int64 // of instances, reserved
	RSS                     int64 // in KiB, with what the test keeps
}

func held(h *host.Host) holding {
	debug.FreeOSMemory()
	files, _ := os.ReadDir("/proc/self/fd") // not on every system
	out := holding{Goroutines: goruntime.NumGoroutine(), Descriptors: len(files), Memory: h.Stats().Sandbox.MemoryReserved}
	status, _ := os.ReadFile("/proc/self/status")
	if _, rest, ok := strings.Cut(string(status), "VmRSS:"); ok {
		fmt.Sscan(rest, &out.RSS)
	}
	return out
}

// traffic sends records all the time and notes how each one ended.
type traffic struct {
	p       *host.Producer
	passOne int
	stop    chan struct{}
	stopped chan struct{}
	sent    atomic.Int64
	ended   []atomic.Uint32 // by number: completions, and which version said so
	phase   atomic.Int32
	// latency of every 16th record, without and with swaps; written by the
	// goroutine of the callbacks alone.
	latency [2][]time.Duration
}

const sampled = 16

func newTraffic(p *host.Producer, most, passOne int) *traffic {
	tr := &traffic{p: p, passOne: passOne, stop: make(chan struct{}), stopped: make(chan struct{}), ended: make([]atomic.Uint32, most)}
	for i := range tr.ended { // what the test keeps is there from the start
		tr.ended[i].Store(0)
	}
	for phase := range tr.latency {
		tr.latency[phase] = slices.Repeat([]time.Duration{1}, most/sampled+1)[:0]
	}
	return tr
}

// kept is what the test holds itself, in KiB.
func (tr *traffic) kept() int64 {
	return int64(4*len(tr.ended)+8*cap(tr.latency[0])+8*cap(tr.latency[1])) >> 10
}

func (tr *traffic) p99(phase int) time.Duration {
	s := slices.Sorted(slices.Values(tr.latency[phase]))
	if len(s) == 0 {
		return 0
	}
	return s[len(s)*99/100]
}

// await waits until so many records were sent.
func (tr *traffic) await(t testing.TB, sent int64) {
	t.Helper()
	for tr.sent.Load() < min(sent, int64(len(tr.ended))) && !t.Failed() {
		time.Sleep(time.Millisecond)
	}
}

func (tr *traffic) run(t testing.TB, rate int) {
	defer close(tr.stopped)
	begun := time.Now()
	value := make([]byte, 100)
	for i := range tr.ended {
		if i%64 == 0 {
			select {
			case <-tr.stop:
				return
			default:
			}
			if rate > 0 {
				time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Second / time.Duration(rate))))
			}
		}
		if err := tr.send(t, i, value); err != nil {
			t.Errorf("record %d: %v", i, err)
			return
		}
		tr.sent.Store(int64(i) + 1)
	}
}

func (tr *traffic) send(t testing.TB, i int, value []byte) error {
	key := fmt.Appendf(nil, "k%d", i)
	if i%tr.passOne == 0 {
		key[0] = 'p'
	}
	at, phase := time.Now(), tr.phase.Load()
	return tr.p.SendAsync(context.Background(), &klamm.Record{Topic: "t", Key: key, Value: value}, func(r klamm.Result) {
		tr.done(t, i, r)
		if i%sampled == 0 {
			tr.latency[phase] = append(tr.latency[phase], time.Since(at))
		}
	})
}

// done notes an end: 1 in the high bits for each time, the version in the low.
func (tr *traffic) done(t testing.TB, i int, r klamm.Result) {
	v := unjudged
	switch r.Outcome {
	case klamm.Dropped:
		if v = number(r.Reason); v < 0 {
			t.Errorf("record %d dropped: %q", i, r.Reason)
		}
	case klamm.Written:
	default:
		t.Errorf("record %d: %+v", i, r)
	}
	tr.ended[i].Add(1<<16 | uint32(v))
}

// check demands one end for each record, and versions that do not go back.
func (tr *traffic) check(t testing.TB, swaps int) {
	t.Helper()
	last, changes := 0, 0
	for i := range int(tr.sent.Load()) {
		got := tr.ended[i].Load()
		if got>>16 != 1 {
			t.Fatalf("record %d ended %d times", i, got>>16)
		}
		v := int(got & 0xffff)
		if v == unjudged {
			continue // it was written: the log tells
		}
		switch ahead := (v - last + swapVersions) % swapVersions; {
		case ahead > swapVersions/2:
			t.Fatalf("record %d was judged by version %d, one before it by %d", i, v, last)
		case ahead > 0:
			changes++
		}
		last = v
	}
	if changes < swaps/2 {
		t.Errorf("%d changes of version were seen in %d swaps", changes, swaps)
	}
}

// checkWritten demands that each record that was to be written is in the log,
// once, with the word of one version.
func (tr *traffic) checkWritten(t testing.TB, b *testBroker, n int) {
	t.Helper()
	want := (n + tr.passOne - 1) / tr.passOne
	log := readUntil(t, b, "t", want)
	last := 0
	for i, rec := range log {
		if key := fmt.Sprintf("p%d", i*tr.passOne); string(rec.Key) != key {
			t.Fatalf("record %d of the log is %q, want %q", i, rec.Key, key)
		}
		if len(rec.Headers) != 1 || rec.Headers[0].Key != "judged" {
			t.Fatalf("record %q has headers %v", rec.Key, rec.Headers)
		}
		v := number(string(rec.Headers[0].Value))
		if v < 0 || (v-last+swapVersions)%swapVersions > swapVersions/2 {
			t.Fatalf("record %q was judged by version %d, one before it by %d", rec.Key, v, last)
		}
		last = v
	}
	if len(log) != want {
		t.Errorf("%d records in the log, want %d", len(log), want)
	}
}
