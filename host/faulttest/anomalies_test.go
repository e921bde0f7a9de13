package faulttest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/checker"
	"github.com/klamm-io/klamm/internal/checker/trial"
	"github.com/klamm-io/klamm/internal/faultproxy"
	"github.com/klamm-io/klamm/partitioner"
)

// A2: a batch expires while its buffer is still being written, and the buffer is
// used again (KAFKA-19012). The checksum covers topic, key and value.
func TestA2_BufferReusedWhileWritten(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{Partitions: 20, Asked: 1, Size: 400, Config: func(c *host.Config) {
		c.Producer.RequestTimeout, c.Producer.DeliveryTimeout, c.Producer.Linger = soon(100), soon(200), ms(1)
		c.Producer.BufferMemory, c.Producer.BatchSize = 64<<10, 16<<10
	}})
	tr.Proxy.SetLink(faultproxy.Link{BytesPerSecond: 500_000, Slice: 1000})
	tr.Proxy.Add(rule(faultproxy.Swallow, 0.05))
	tr.Proxy.Add(rule(faultproxy.HoldRequest, 0.05))
	stop := repeat(150*time.Millisecond, func(n int) {
		if b := n / 3 % 3; n%3 < 2 {
			tr.Proxy.Stop(b)
		} else {
			tr.Proxy.Continue(b)
		}
	})
	must(t, tr.Load(ctx, records(6000)))
	stop()
	r := finish(t, ctx, tr)
	if r.Unknown+r.FailedDefinite == 0 {
		t.Error("no batch expired")
	}
}

// A3: OUT_OF_ORDER_SEQUENCE_NUMBER on one partition moves the producer to a new
// epoch, and another partition's batches in flight are doubled (librdkafka
// #4953).
func TestA3_OutOfOrderOnOnePartition(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{Embedded: 1, Config: impatient})
	tr.Proxy.Add(rule(faultproxy.HoldReply, 0.1))
	tr.Proxy.Add(rule(faultproxy.CutBeforeReply, 0.02))
	fault(t, tr, kerr.OutOfOrderSequenceNumber, []int32{5}, func(n int) bool { return n%20 < 3 })
	must(t, tr.Load(ctx, records(5000)))
	r := finish(t, ctx, tr)
	noneFailed(t, r)
	struck(t, r, kerr.OutOfOrderSequenceNumber.Message)
}

// A4: the topic vanishes from a broker's metadata for a while, and the partitions
// come back without their sequences (librdkafka 1.9.0).
func TestA4_MetadataBlip(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{})
	must(t, tr.Load(ctx, 100))
	must(t, tr.Producer.Flush(ctx)) // the topic is known
	var blips atomic.Int32
	for range 3 {
		h := embedded(t, tr).Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Metadata}, Topic: tr.Topic(), Err: kerr.UnknownTopicOrPartition, Count: 4,
			When: func(kmsg.Request) bool { blips.Add(1); return true },
		})
		shuffle(tr) // so that metadata is asked for
		must(t, tr.Load(ctx, records(1500)))
		must(t, tr.Producer.Flush(ctx))
		h.Remove()
	}
	allWritten(t, finish(t, ctx, tr))
	if blips.Load() == 0 {
		t.Error("the topic never vanished")
	}
}

// A6: a batch that timed out was written nevertheless; its sequence goes to new
// records, which are taken for duplicates (franz-go #1217).
func TestA6_TimedOutAndWritten(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{Config: func(c *host.Config) {
		c.Producer.RequestTimeout, c.Producer.DeliveryTimeout, c.Producer.Linger = soon(60), soon(80), ms(1)
	}})
	fault(t, tr, kerr.RequestTimedOut, []int32{0, 1, 2}, func(n int) bool { return n%40 < 20 })
	tr.Proxy.Add(faultproxy.Rule{Action: faultproxy.HoldReply, Key: produceKey, Chance: 0.02, Delay: 120 * time.Millisecond * slower})
	must(t, tr.Load(ctx, records(4000)))
	r := finish(t, ctx, tr)
	if r.UnknownWritten == 0 {
		t.Error("no record timed out and was written")
	}
}

// A7: the reply to one batch of five in flight is lost, whether the broker has
// written it or not.
func TestA7_ReplyLostForOneOfFive(t *testing.T) {
	for _, tt := range []struct {
		name   string
		action faultproxy.Action
	}{{"written", faultproxy.CutBeforeReply}, {"not written", faultproxy.CutBeforeRequest}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tr, ctx := start(t, trial.Options{Embedded: 1, Partitions: 1})
			tr.Proxy.SetLink(faultproxy.Link{Latency: 2 * time.Millisecond}) // so that five are in flight
			tr.Proxy.Add(faultproxy.Rule{Action: tt.action, Key: produceKey, Every: 7})
			must(t, tr.Load(ctx, records(1000)))
			r := finish(t, ctx, tr)
			allWritten(t, r)
			struck(t, r, tt.action.String())
		})
	}
}

// A8: sends fail while no broker is there; their sequences must not be missed
// afterwards (sarama #1430).
func TestA8_BrokersAwayWhileSendsFail(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{InFlight: 1000, Config: func(c *host.Config) {
		c.Producer.RequestTimeout, c.Producer.DeliveryTimeout, c.Producer.Linger = soon(1000), soon(1500), ms(1)
	}})
	must(t, tr.Load(ctx, records(500)))
	must(t, tr.Producer.Flush(ctx)) // metadata is there
	for b := range 3 {
		tr.Proxy.Down(b)
	}
	must(t, tr.Load(ctx, records(3000)))
	must(t, tr.Producer.Flush(ctx))
	for b := range 3 {
		tr.Proxy.Up(b)
	}
	r := finish(t, ctx, tr) // each partition must take a record again
	if r.FailedDefinite < 2000 || r.Acknowledged < 512 {
		t.Errorf("%d records failed, %d were acknowledged", r.FailedDefinite, r.Acknowledged)
	}
}

// A9: records that gather behind a retry must have their sequences when it is
// over (sarama #3362).
func TestA9_RetryWithBufferedSuccessors(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{InFlight: 3000, Partitions: 2, Embedded: 1})
	fault(t, tr, kerr.NotEnoughReplicas, nil, func(n int) bool { return n%12 < 4 })
	must(t, tr.Load(ctx, records(2000)))
	allWritten(t, finish(t, ctx, tr))
}

// A10: without idempotence and with one request in flight a retry may double,
// but not reorder (sarama #2619).
func TestA10_OrderWithoutIdempotence(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{Config: func(c *host.Config) {
		off := false
		c.Producer.EnableIdempotence, c.Producer.MaxInFlight = &off, 1
	}})
	tr.Proxy.Add(faultproxy.Rule{Action: faultproxy.CutBeforeReply, Key: produceKey, Every: 6})
	fault(t, tr, kerr.NotEnoughReplicas, nil, every(9))
	stop := repeat(30*time.Millisecond, func(int) { shuffle(tr) })
	must(t, tr.Load(ctx, records(3000)))
	stop()
	r, err := tr.Finish(ctx)
	must(t, err)
	if r.Reordered+r.Lost+r.Unseen+r.Ghosts+r.Corrupt+r.Misplaced > 0 {
		t.Error(r.Err())
	}
	if r.Duplicated == 0 {
		t.Error("nothing was doubled: no retry followed a lost reply")
	}
	allWritten(t, r)
}

// A11: a partition that waits for something that never comes is stuck for ever
// (sarama #3692). Finish sends to each partition, as in every other test.
func TestA11_NoPartitionIsStuck(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{Config: func(c *host.Config) {
		c.Producer.RequestTimeout, c.Producer.DeliveryTimeout, c.Producer.Linger = soon(100), soon(150), ms(1)
	}})
	for _, a := range []faultproxy.Action{faultproxy.SwallowReplies, faultproxy.SwallowRequests, faultproxy.CutInReply, faultproxy.HoldRequest} {
		tr.Proxy.Add(rule(a, 0.05))
	}
	fault(t, tr, kerr.OutOfOrderSequenceNumber, []int32{1}, every(3))
	fault(t, tr, kerr.InvalidProducerEpoch, []int32{2}, every(7))
	fault(t, tr, kerr.UnknownProducerID, []int32{3}, every(5))
	stop := repeat(50*time.Millisecond, func(int) { shuffle(tr) })
	must(t, tr.Load(ctx, records(3000)))
	stop()
	finish(t, ctx, tr)
}

// A12: retries that do not wait for their backoff (sarama #3557).
func TestA12_RetriesBackOff(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	tr, ctx := start(t, trial.Options{
		Observe: func(_ int, key int16, _ []byte) {
			if key == produceKey {
				requests.Add(1)
			}
		},
		Config: func(c *host.Config) { c.Producer.RetryBackoff, c.Producer.RetryBackoffMax = ms(20), ms(80) },
	})
	tr.Proxy.Add(faultproxy.Rule{Action: faultproxy.CutBeforeReply, Key: produceKey, Chance: 1, Limit: 4})
	began := time.Now()
	must(t, tr.Sender(0).SendTo(ctx, 0, 0))
	must(t, tr.Producer.Flush(ctx))
	// 20, 40, 80 and 80 ms, less Kafka's jitter of a fifth.
	if took, least := time.Since(began), 220*time.Millisecond*8/10; took < least {
		t.Errorf("4 retries took %v, want %v at least", took, least)
	}
	if n := requests.Load(); n != 5 {
		t.Errorf("there were %d requests, want 5", n)
	}
	allWritten(t, finish(t, ctx, tr))
}

// A14: an idle partition keeps its old sequence when the epoch rises
// (KAFKA-12152).
func TestA14_IdlePartitionAfterNewEpoch(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{Embedded: 1, Partitions: 4})
	s := tr.Sender(0)
	flood := func(partitions ...int32) {
		for i := range records(200) {
			p := partitions[i%len(partitions)]
			must(t, s.SendTo(ctx, int(p), p))
		}
		must(t, tr.Producer.Flush(ctx))
	}
	flood(0, 1, 2, 3)
	fault(t, tr, kerr.OutOfOrderSequenceNumber, []int32{0}, func(n int) bool { return n%9 < 4 })
	flood(0)
	flood(1, 2, 3, 0)
	r := finish(t, ctx, tr)
	allWritten(t, r)
	struck(t, r, kerr.OutOfOrderSequenceNumber.Message)
}

// A15: the broker has written a batch, its reply is lost, and it calls the retry
// out of order (redpanda #3039). Under a new epoch it would be written twice.
func TestA15_OutOfOrderForWhatIsWritten(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{Embedded: 1, Partitions: 3})
	tr.Proxy.Add(faultproxy.Rule{Action: faultproxy.CutBeforeReply, Key: produceKey, Every: 10})
	fault(t, tr, kerr.OutOfOrderSequenceNumber, nil, func(n int) bool { m := n % 10; return m == 1 || m == 2 || m == 3 })
	must(t, tr.Load(ctx, records(1500)))
	r := finish(t, ctx, tr)
	noneFailed(t, r)
	struck(t, r, "cut_before_reply")
}

// A16: records of one sender are acknowledged, and lie, in the order in which
// they were sent, though brokers answer in any order.
func TestA16_OrderOfSends(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{Producers: 8, Keys: 3, Asked: 0.4})
	tr.Proxy.Add(rule(faultproxy.HoldReply, 0.1))
	tr.Proxy.Add(rule(faultproxy.CutBeforeReply, 0.05))
	// Apache Kafka takes longer over a new leader than the time to the next one.
	stop := repeat(slower*40*time.Millisecond, func(int) { shuffle(tr) })
	must(t, tr.Load(ctx, records(4000)))
	stop()
	allWritten(t, finish(t, ctx, tr))
}

// A21: Close and Flush hang in some state.
func TestA21_CloseInEveryState(t *testing.T) {
	states := []struct {
		name  string
		begin func(t *testing.T, tr *trial.Trial)
	}{
		{"at work", func(*testing.T, *trial.Trial) {}},
		{"brokers away", func(t *testing.T, tr *trial.Trial) { tr.Proxy.Down(0); tr.Proxy.Down(1); tr.Proxy.Down(2) }},
		{"brokers stopped", func(t *testing.T, tr *trial.Trial) { tr.Proxy.Stop(0); tr.Proxy.Stop(1); tr.Proxy.Stop(2) }},
		{"replies swallowed", func(t *testing.T, tr *trial.Trial) { tr.Proxy.Add(rule(faultproxy.SwallowReplies, 1)) }},
		{"requests swallowed", func(t *testing.T, tr *trial.Trial) { tr.Proxy.Add(rule(faultproxy.SwallowRequests, 1)) }},
		{"retries", func(t *testing.T, tr *trial.Trial) { fault(t, tr, kerr.NotEnoughReplicas, nil, every(1)) }},
		{"no producer id", func(t *testing.T, tr *trial.Trial) {
			fault(t, tr, kerr.OutOfOrderSequenceNumber, nil, every(1))
			tr.Proxy.Add(faultproxy.Rule{Action: faultproxy.Swallow, Key: int16(kmsg.InitProducerID), Chance: 1})
		}},
		{"fenced", func(t *testing.T, tr *trial.Trial) { fault(t, tr, kerr.ProducerFenced, nil, every(1)) }},
	}
	for _, tt := range states {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tr, ctx := start(t, trial.Options{InFlight: 500})
			must(t, tr.Load(ctx, 300))
			tt.begin(t, tr)
			must(t, tr.Load(ctx, 150))
			closeSoon(t, tr)
			r, err := tr.Finish(ctx)
			if r == nil || err != nil && !errors.Is(err, context.DeadlineExceeded) { // what Close gave up
				t.Fatal(err)
			}
			if err := r.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A22: senders wait for memory that waits for senders (franz-go #832).
func TestA22_MemoryOfOneBatch(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{Producers: 100, Keys: 2, InFlight: -1, Config: func(c *host.Config) {
		c.Producer.BatchSize, c.Producer.BufferMemory, c.Producer.MaxRequestSize = 1000, 1100, 1024
		c.Producer.RequestTimeout, c.Producer.DeliveryTimeout, c.Producer.Linger = soon(100), soon(200), ms(1)
	}})
	tr.Proxy.Add(rule(faultproxy.Swallow, 0.02))
	must(t, tr.Load(ctx, records(1500)))
	r := finish(t, ctx, tr)
	if r.Refused > 0 {
		t.Errorf("%d records were refused", r.Refused)
	}
}

// A24: a batch that is too large is split while five are in flight.
func TestA24_SplitWithFiveInFlight(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{
		Partitions: 3, BrokerConfigs: map[string]string{"message.max.bytes": "2000"}, InFlight: 2000,
		Config: func(c *host.Config) { c.Producer.BatchSize = 6000 },
	})
	tr.Proxy.Add(rule(faultproxy.CutBeforeReply, 0.05))
	must(t, tr.Load(ctx, records(3000)))
	r := finish(t, ctx, tr)
	allWritten(t, r)
	if n := tr.Host.Stats().Produce.Splits; n == 0 {
		t.Error("no batch was split")
	}
}

// A25: records of one key, some to a partition that is asked for and some to the
// one that the partitioner chooses, which is the same (librdkafka's
// INTRODUCTION.md).
func TestA25_AskedAndChosenPartitions(t *testing.T) {
	t.Parallel()
	const partitions = 12
	tr, ctx := start(t, trial.Options{Partitions: partitions})
	tr.Proxy.Add(rule(faultproxy.CutBeforeReply, 0.1))
	s := tr.Sender(0)
	for i := range records(2000) {
		key := i % 5
		home := int32(partitioner.Murmur2(checker.Payload{ID: checker.MakeID(0, key, 0)}.Record().Key)&0x7fffffff) % partitions
		if i%3 == 0 {
			home = -1
		}
		must(t, s.SendTo(ctx, key, home))
	}
	allWritten(t, finish(t, ctx, tr))
}

// A26: a keyed record waits for its partition's leader; it does not move.
func TestA26_KeyedRecordsWait(t *testing.T) {
	t.Parallel()
	// Room for all of the next thousand: the embedded broker draws leaders by
	// lot, and a broker that leads most partitions makes most records wait.
	tr, ctx := start(t, trial.Options{InFlight: 1000})
	must(t, tr.Load(ctx, records(500)))
	must(t, tr.Producer.Flush(ctx))
	tr.Proxy.Down(0)
	must(t, tr.Load(ctx, 1000))
	tr.Proxy.Up(0)
	must(t, tr.Load(ctx, records(500)))
	allWritten(t, finish(t, ctx, tr))
}

var hostile = []faultproxy.Action{faultproxy.WrongCorrelation, faultproxy.OversizedLength, faultproxy.NegativeLength, faultproxy.Truncate, faultproxy.Garbage}

// A28: replies that no honest broker sends. Garbage in answer to Produce is left
// out: it may well acknowledge what is not there.
func TestA28_HostileReplies(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.Produce, kmsg.Metadata, kmsg.ApiVersions} {
		t.Run(key.Name(), func(t *testing.T) {
			t.Parallel()
			tr, ctx := start(t, trial.Options{Config: impatientDials})
			var rules []*faultproxy.Handle
			for _, a := range hostile {
				if key != kmsg.Produce || a != faultproxy.Garbage {
					rules = append(rules, tr.Proxy.Add(faultproxy.Rule{Action: a, Key: int16(key), Every: 3, Limit: 5}))
				}
			}
			stop := repeat(20*time.Millisecond, func(int) { tr.Proxy.Cut(0); shuffle(tr) })
			must(t, tr.Load(ctx, records(1500)))
			for _, h := range rules {
				for h.Strikes() == 0 {
					must(t, tr.Load(ctx, 50))
				}
			}
			stop()
			noneFailed(t, finish(t, ctx, tr))
		})
	}
}

// A28, for the one request that gets a producer id.
func TestA28_HostileProducerIDs(t *testing.T) {
	t.Parallel()
	var rules []faultproxy.Rule
	for _, a := range hostile[:4] {
		rules = append(rules, faultproxy.Rule{Action: a, Key: int16(kmsg.InitProducerID), Every: 1, Limit: 1})
	}
	tr, ctx := start(t, trial.Options{Rules: rules, Config: impatientDials})
	must(t, tr.Load(ctx, records(500)))
	must(t, tr.Producer.Flush(ctx))
	r := finish(t, ctx, tr)
	allWritten(t, r)
	for _, a := range hostile[:4] {
		struck(t, r, a.String())
	}
}

func impatientDials(c *host.Config) {
	impatient(c)
	c.Cluster.DialTimeout = ms(500)
}

// A30: a retry runs the interceptors again, and a dedup plugin drops the record
// as its own duplicate.
func TestA30_RetriesAndDedup(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rule   faultproxy.Rule
		config func(*host.Config)
	}{
		{"every 5th reply lost", faultproxy.Rule{Action: faultproxy.CutBeforeReply, Every: 5}, nil},
		{"every 2nd reply lost", faultproxy.Rule{Action: faultproxy.CutBeforeReply, Every: 2}, nil},
		{"records expire", faultproxy.Rule{Action: faultproxy.Swallow, Chance: 0.1}, func(c *host.Config) {
			c.Producer.RequestTimeout, c.Producer.DeliveryTimeout, c.Producer.Linger = soon(100), soon(150), ms(1)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tr, ctx := start(t, trial.Options{Dedup: true, Repeats: 0.4, Config: tt.config})
			tr.Proxy.Add(tt.rule)
			must(t, tr.Load(ctx, records(1500)))
			r := finish(t, ctx, tr)
			struck(t, r, tt.rule.Action.String())
			if r.Dropped == 0 {
				t.Error("no duplicate was dropped")
			}
			if tt.config == nil {
				allWritten(t, r)
			}
		})
	}
}

// C022: brokers go away while batches are being filled. Each record is offered to
// the interceptors once and told of once, however often its batch is sent.
func TestC022_HooksOnceThoughBrokersRestart(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{Asked: 0.2, InFlight: 1000})
	stop := repeat(40*time.Millisecond, func(n int) {
		if b := n / 2 % 3; n%2 == 0 {
			tr.Proxy.Down(b)
		} else {
			tr.Proxy.Up(b)
		}
	})
	must(t, tr.Load(ctx, records(4000)))
	loadUntil(t, ctx, tr, "down", 6)
	stop()
	r := finish(t, ctx, tr)
	allWritten(t, r)
	if retries := tr.Host.Stats().Produce.Retries; retries == 0 || r.InterceptorFaults > 0 || r.Completions != r.Sent {
		t.Errorf("%d retries, %d records met interceptors not exactly once, %d completions of %d", retries, r.InterceptorFaults, r.Completions, r.Sent)
	}
}

// C090: a flush that meets a split waits for the children (KAFKA-19479).
func TestC090_FlushWaitsForTheChildren(t *testing.T) {
	t.Parallel()
	tr, ctx := start(t, trial.Options{
		Partitions: 3, BrokerConfigs: map[string]string{"message.max.bytes": "1500"}, InFlight: 2000,
		Config: func(c *host.Config) { c.Producer.BatchSize = 12_000 },
	})
	tr.Proxy.Add(faultproxy.Rule{Action: faultproxy.HoldReply, Key: produceKey, Every: 3, Delay: 20 * time.Millisecond})
	for range 5 {
		must(t, tr.Load(ctx, records(400)))
		must(t, tr.Producer.Flush(ctx))
		if c := tr.Producer.Counts(); c.InFlight != 0 || c.Out != c.In {
			t.Fatalf("after the flush: %+v", c)
		}
	}
	if tr.Host.Stats().Produce.Splits == 0 {
		t.Error("no batch was split")
	}
	allWritten(t, finish(t, ctx, tr))
}
