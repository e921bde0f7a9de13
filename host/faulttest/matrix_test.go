package faulttest

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/checker/trial"
	"github.com/klamm-io/klamm/internal/faultproxy"
)

// TestMatrix has a row for each kind of fault.
func TestMatrix(t *testing.T) {
	proxy := func(r ...faultproxy.Rule) func(*testing.T, *trial.Trial) func() {
		return func(t *testing.T, tr *trial.Trial) func() {
			for _, r := range r {
				tr.Proxy.Add(r)
			}
			return nothing
		}
	}
	link := func(l faultproxy.Link) func(*testing.T, *trial.Trial) func() {
		return func(t *testing.T, tr *trial.Trial) func() { tr.Proxy.SetLink(l); return nothing }
	}
	answers := func(err *kerr.Error, k int) func(*testing.T, *trial.Trial) func() {
		return func(t *testing.T, tr *trial.Trial) func() { fault(t, tr, err, nil, every(k)); return nothing }
	}
	tests := []struct {
		name    string
		records int
		config  func(*host.Config)
		begin   func(*testing.T, *trial.Trial) (stop func())
		fault   string // that must be made several times
	}{
		{"B1 broker down and up", 4000, nil, func(t *testing.T, tr *trial.Trial) func() {
			return repeat(60*time.Millisecond*slower, func(n int) {
				if b := n / 2 % 3; n%2 == 0 {
					tr.Proxy.Down(b)
				} else {
					tr.Proxy.Up(b)
				}
			})
		}, "down"},
		{"B2 leaders move", 4000, nil, func(t *testing.T, tr *trial.Trial) func() {
			return repeat(20*time.Millisecond, func(int) { shuffle(tr); tr.Count("shuffle") })
		}, "shuffle"},
		{"B3 broker stopped", 4000, impatient, func(t *testing.T, tr *trial.Trial) func() {
			return repeat(200*time.Millisecond*slower, func(n int) {
				if n%3 < 2 { // longer than a request waits
					tr.Proxy.Stop(n / 3 % 3)
				} else {
					tr.Proxy.Continue(n / 3 % 3)
				}
			})
		}, "stop"},
		{"B3 copies in a stopped broker's queue, another leads", 4000, impatient, func(t *testing.T, tr *trial.Trial) func() {
			return repeat(150*time.Millisecond*slower, func(n int) {
				if n%4 < 3 {
					tr.Proxy.Stop(0)
				} else {
					tr.Proxy.Continue(0)
				}
				shuffle(tr)
			})
		}, "stop"},
		{"N1 every 25th reply lost", 6000, nil, proxy(faultproxy.Rule{Action: faultproxy.CutBeforeReply, Every: 25}), "cut_before_reply"},
		{"N1 every 10th reply lost", 3000, nil, proxy(faultproxy.Rule{Action: faultproxy.CutBeforeReply, Every: 10}), "cut_before_reply"},
		{"N1 every 5th reply lost", 2000, nil, proxy(faultproxy.Rule{Action: faultproxy.CutBeforeReply, Every: 5}), "cut_before_reply"},
		{"N1 every 2nd reply lost", 800, nil, proxy(faultproxy.Rule{Action: faultproxy.CutBeforeReply, Every: 2}), "cut_before_reply"},
		{"N1 timed out after the append", 4000, nil, answers(kerr.RequestTimedOut, 5), kerr.RequestTimedOut.Message},
		{"N2 requests cut", 3000, nil, proxy(rule(faultproxy.CutInRequest, 0.1)), "cut_in_request"},
		{"N2 replies cut", 3000, nil, proxy(rule(faultproxy.CutInReply, 0.1)), "cut_in_reply"},
		{"N3 requests swallowed", 2000, impatient, proxy(rule(faultproxy.SwallowRequests, 0.02)), "swallow_requests"},
		{"N3 replies swallowed", 2000, impatient, proxy(rule(faultproxy.SwallowReplies, 0.02)), "swallow_replies"},
		{"N3 both swallowed", 2000, impatient, proxy(rule(faultproxy.Swallow, 0.02)), "swallow"},
		{"N4 slow", 1000, nil, link(faultproxy.Link{Latency: 20 * time.Millisecond, BytesPerSecond: 375_000}), ""},
		{"N4 one byte at a time", 500, nil, link(faultproxy.Link{Slice: 1}), ""},
		{"N5 short lives", 6000, nil, link(faultproxy.Link{Lifetime: 8 * time.Millisecond * slower}), "lifetime"},
		{"E1 not enough replicas", 4000, nil, answers(kerr.NotEnoughReplicas, 5), kerr.NotEnoughReplicas.Message},
		{"E1 not enough replicas after the append", 4000, nil, answers(kerr.NotEnoughReplicasAfterAppend, 5), kerr.NotEnoughReplicasAfterAppend.Message},
		{"E4 unknown producer id", 3000, nil, answers(kerr.UnknownProducerID, 9), kerr.UnknownProducerID.Message},
		{"held requests outlive their client", 3000, impatient, proxy(rule(faultproxy.HoldRequest, 0.03), rule(faultproxy.CutAfterRequest, 0.05)), "hold_request"},
		{"late replies", 3000, impatient, proxy(faultproxy.Rule{Action: faultproxy.HoldReply, Chance: 0.02, Delay: 400 * time.Millisecond}), "hold_reply"},
		{"metadata cut", 3000, nil, proxy(faultproxy.Rule{Action: faultproxy.CutBeforeReply, Key: int16(kmsg.Metadata), Chance: 0.5}, rule(faultproxy.CutBeforeReply, 0.05)), "cut_before_reply"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tr, ctx := start(t, trial.Options{Config: tt.config, Asked: 0.2})
			stop := tt.begin(t, tr)
			must(t, tr.Load(ctx, records(tt.records)))
			if tt.fault != "" {
				loadUntil(t, ctx, tr, tt.fault, 6)
			}
			stop()
			noneFailed(t, finish(t, ctx, tr))
		})
	}
}

func nothing() {}

// repeat calls f at once, and then on a goroutine each time that a period has
// passed, until it is stopped.
func repeat(period time.Duration, f func(n int)) (stop func()) {
	f(0)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(period)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-end:
				return
			case <-tick.C:
				f(n)
			}
		}
	}()
	return func() { close(end); <-ended }
}

// M2: the topic gets more partitions while it is written. Records of a key keep
// their order in each of its partitions, and none fails.
func TestM2_PartitionsAdded(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{Partitions: 3, Repartitioned: true, Config: func(c *host.Config) { c.Cluster.MetadataMaxAge = ms(100) }})
	must(t, tr.Load(ctx, records(1000)))
	cl, err := kgo.NewClient(kgo.SeedBrokers(tr.Host.Brokers()...))
	must(t, err)
	defer cl.Close()
	added, err := kadm.NewClient(cl).CreatePartitions(ctx, 4, tr.Topic())
	must(t, err)
	must(t, added.Error())
	for grown := false; !grown; {
		must(t, tr.Load(ctx, records(200)))
		topics, err := tr.Host.DescribeTopics(ctx, tr.Topic())
		must(t, err)
		grown = len(topics[0].Partitions) == 7
		for _, p := range topics[0].Partitions {
			grown = grown && p.End > 0
		}
	}
	allWritten(t, finish(t, ctx, tr))
}

// TestChaos has all of it at once.
func TestChaos(t *testing.T) {
	for _, dedup := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "dedup"}[dedup], func(t *testing.T) {
			t.Parallel()
			tr, ctx := start(t, trial.Options{Dedup: dedup, Asked: 0.2, Config: impatient})
			stop := tr.Chaos(ctx)
			must(t, tr.Load(ctx, records(10_000)))
			must(t, tr.Snapshot(ctx))
			stop()
			noneFailed(t, finish(t, ctx, tr))
		})
	}
}
