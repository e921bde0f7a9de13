package trial

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm/internal/faultproxy"
)

// Chaos makes faults of every kind until stop is called: frames are cut, held,
// swallowed and mutilated, connections end, brokers stop, leaders move, and
// brokers answer with errors. Trouble beyond the proxy needs embedded brokers.
func (t *Trial) Chaos(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	var undo []func()
	if t.Proxy != nil {
		for _, r := range chaosRules {
			undo = append(undo, t.Proxy.Add(r).Remove)
		}
	}
	if t.Kafka != nil {
		undo = append(undo, t.injectErrors()...)
	}
	all.Go(func() { t.disturb(ctx, t.Rand(1<<32)) })
	return func() {
		cancel()
		all.Wait()
		for _, f := range undo {
			f()
		}
		t.Heal()
	}
}

const produceKey = int16(kmsg.Produce)

var chaosRules = []faultproxy.Rule{
	{Action: faultproxy.CutBeforeRequest, Key: produceKey, Chance: 0.005},
	{Action: faultproxy.CutInRequest, Key: produceKey, Chance: 0.005},
	{Action: faultproxy.CutAfterRequest, Key: produceKey, Chance: 0.005},
	{Action: faultproxy.CutBeforeReply, Key: produceKey, Chance: 0.02},
	{Action: faultproxy.CutInReply, Key: produceKey, Chance: 0.005},
	{Action: faultproxy.CutAfterReply, Key: produceKey, Chance: 0.005},
	{Action: faultproxy.HoldRequest, Key: produceKey, Chance: 0.005, Delay: 30 * time.Millisecond},
	{Action: faultproxy.HoldReply, Key: produceKey, Chance: 0.01, Delay: 30 * time.Millisecond},
	{Action: faultproxy.WrongCorrelation, Key: produceKey, Chance: 0.002},
	{Action: faultproxy.OversizedLength, Key: produceKey, Chance: 0.002},
	{Action: faultproxy.NegativeLength, Key: produceKey, Chance: 0.002},
	{Action: faultproxy.Truncate, Key: produceKey, Chance: 0.002},
	{Action: faultproxy.CutBeforeReply, Key: int16(kmsg.Metadata), Chance: 0.1},
}

// chaosErrors are answers that are retried. REQUEST_TIMED_OUT and
// NOT_ENOUGH_REPLICAS_AFTER_APPEND come after the records were written.
var chaosErrors = []*kerr.Error{
	kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend,
	kerr.KafkaStorageError, kerr.UnknownTopicOrPartition, kerr.OutOfOrderSequenceNumber, kerr.CorruptMessage,
}

// refusals are answers that fail a batch for certain.
var refusals = []*kerr.Error{kerr.PolicyViolation, kerr.TopicAuthorizationFailed, kerr.InvalidTimestamp}

// injectErrors has brokers refuse a partition's batches now and then.
func (t *Trial) injectErrors() (undo []func()) {
	errs := chaosErrors
	if t.o.Refusals {
		errs = slices.Concat(errs, refusals)
	}
	for i, err := range errs {
		numbers := t.Rand(1<<33 + uint64(i)) // used by the brokers' goroutine alone
		h := t.Kafka.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: t.o.Topic, Err: err, Count: -1,
			Partitions: []int32{numbers.Int32N(int32(t.o.Partitions))},
			When: func(kmsg.Request) bool {
				if numbers.IntN(60) > 0 {
					return false
				}
				t.Count(err.Message)
				return true
			},
		})
		undo = append(undo, func() { h.Remove() })
	}
	return undo
}

// disturb makes what no single frame meets.
func (t *Trial) disturb(ctx context.Context, numbers *rand.Rand) {
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch n := numbers.IntN(20); {
		case n < 6 && t.Kafka != nil:
			partition, node := numbers.Int32N(int32(t.o.Partitions)), numbers.Int32N(int32(t.o.Embedded))
			if t.Kafka.MoveTopicPartition(t.o.Topic, partition, node) == nil {
				t.Count("leader_moved")
			}
		case n < 7 && t.Kafka != nil:
			t.Kafka.ShufflePartitionLeaders()
			t.Count("leaders_shuffled")
		case n < 12 && t.Proxy != nil:
			t.Proxy.Cut(numbers.IntN(len(t.direct)))
		case n == 12 && t.Proxy != nil:
			t.pauseBroker(ctx, numbers)
		case n == 13 && t.Proxy != nil:
			t.Proxy.SetLink(faultproxy.Link{Latency: time.Duration(numbers.IntN(10)) * time.Millisecond, Slice: numbers.IntN(2000)})
		case n == 14 && t.Proxy != nil:
			t.Proxy.SetLink(faultproxy.Link{})
		}
	}
}

// pauseBroker stops a broker for a moment, or takes it off the network.
func (t *Trial) pauseBroker(ctx context.Context, numbers *rand.Rand) {
	b := numbers.IntN(len(t.direct))
	begin, end := t.Proxy.Stop, t.Proxy.Continue
	if numbers.IntN(2) == 0 {
		begin, end = t.Proxy.Down, t.Proxy.Up
	}
	begin(b)
	defer end(b)
	select {
	case <-time.After(time.Duration(20+numbers.IntN(80)) * time.Millisecond):
	case <-ctx.Done():
	}
}
