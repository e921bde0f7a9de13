package produce

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/internal/config"
)

// kafka is a cluster of kfake brokers with one topic, "t".
type kafka struct {
	*kfake.Cluster
	t       *testing.T
	addrs   []string
	cluster *cluster.Cluster
}

func startKafka(t *testing.T, brokers, partitions int, opts ...kfake.Opt) *kafka {
	t.Helper()
	return startKafkaFor(t, config.Default().Cluster, brokers, partitions, opts...)
}

// startKafkaFor is startKafka with a client of its own configuration.
func startKafkaFor(t *testing.T, conf config.Cluster, brokers, partitions int, opts ...kfake.Opt) *kafka {
	t.Helper()
	opts = append([]kfake.Opt{kfake.NumBrokers(brokers), kfake.SeedTopics(int32(partitions), "t")}, opts...)
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	k := &kafka{Cluster: c, t: t, addrs: c.ListenAddrs()}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conf.BootstrapServers = k.addrs
	if k.cluster, err = cluster.Open(ctx, &conf, cluster.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.cluster.Close() })
	if _, err := k.cluster.AwaitTopic(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	return k
}

// testConfig is the default producer with what set changes.
func testConfig(set ...func(*config.Producer)) *config.Producer {
	c := config.Default().Producer
	for _, f := range set {
		f(&c)
	}
	return &c
}

// history is what became of records, by Ref: the n-th record sent to a
// partition has the value n.
type history struct {
	mu      sync.Mutex
	cond    *sync.Cond
	sent    map[uint64]int32 // ref -> partition
	ends    map[uint64]error
	offsets map[uint64]int64
	twice   []uint64
	batches int
	topic   string
	log     map[int32][]uint64 // what the brokers have, where the test put it
	story   string             // what they did
	// attempts, where they are noted, are told of records that are not as they
	// should be.
	attempts *attempts
	txn      uint32 // the open transaction, for send
	// lateUnknown: records of unknown outcome may be out of order.
	lateUnknown bool
}

func newHistory() *history {
	h := &history{sent: map[uint64]int32{}, ends: map[uint64]error{}, offsets: map[uint64]int64{}, topic: "t"}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *history) complete(c *Completion) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.batches++
	for i, ref := range c.Refs {
		if _, ok := h.ends[ref]; ok {
			h.twice = append(h.twice, ref)
		}
		err := c.Err
		if c.RecordErrs != nil {
			err = c.RecordErrs[i]
		}
		h.ends[ref] = err
		h.offsets[ref] = -1
		if err == nil && c.BaseOffset >= 0 {
			h.offsets[ref] = c.BaseOffset + int64(i)
		}
	}
	h.cond.Broadcast()
}

// send appends the record with that ref, as every caller does it.
func (h *history) send(p *Pipeline, ref uint64, partition int32, size int) error {
	value := make([]byte, max(size, 8))
	binary.BigEndian.PutUint64(value, ref)
	n := UpperBound(0, len(value), nil)
	if err := p.Reserve(context.Background(), n, time.Now().Add(time.Minute)); err != nil {
		return err
	}
	h.mu.Lock()
	h.sent[ref] = partition
	h.mu.Unlock()
	r := Record{Topic: h.topic, Partition: partition, TimestampMS: time.Now().UnixMilli(), Value: value, Ref: ref, Reserved: n, Txn: h.txn}
	if err := p.Append(&r); err != nil {
		p.Release(n)
		h.mu.Lock()
		delete(h.sent, ref)
		h.mu.Unlock()
		return err
	}
	return nil
}

// wait waits until every record has ended.
func (h *history) wait() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.ends) < len(h.sent) {
		h.cond.Wait()
	}
}

// check compares what was acknowledged with what the log of each partition
// holds: nothing lost, doubled or out of order, no failed record written. A record
// of unknown outcome may be there once or not at all.
func (h *history) check(t *testing.T, log map[int32][]uint64) (acked, failed, unknown int) {
	t.Helper()
	v := h.judge(log)
	for _, err := range v.errors {
		t.Error(err)
	}
	if len(v.errors) > 0 && h.attempts != nil {
		t.Log(h.attempts.tell(v.bad))
	}
	return v.acked, v.failed, v.unknown
}

// verdict is what the checker found, and on which records of which partitions.
type verdict struct {
	acked, failed, unknown int
	errors                 []string
	bad                    map[int32][]uint64
}

func (v *verdict) errorf(part int32, ref uint64, format string, args ...any) {
	v.errors = append(v.errors, fmt.Sprintf(format, args...))
	v.bad[part] = append(v.bad[part], ref)
}

func (h *history) judge(log map[int32][]uint64) *verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := &verdict{bad: map[int32][]uint64{}}
	for _, ref := range h.twice {
		v.errorf(h.sent[ref], ref, "record %d completed twice", ref)
	}
	at := map[uint64]int64{}
	for part, refs := range log {
		last := map[uint64]uint64{} // per sending goroutine, which is in the upper bits
		for offset, ref := range refs {
			if before, ok := at[ref]; ok {
				v.errorf(part, ref, "record %d is doubled: partition %d offsets %d and %d", ref, part, before, offset)
			}
			at[ref] = int64(offset)
			if h.sent[ref] != part {
				v.errorf(part, ref, "record %d is in partition %d, not %d", ref, part, h.sent[ref])
			}
			if h.lateUnknown && errors.Is(h.ends[ref], klamm.ErrOutcomeUnknown) {
				continue
			}
			if prev, ok := last[ref>>32]; ok && prev > ref {
				v.errorf(part, ref, "partition %d: record %d comes after %d", part, ref, prev)
			}
			last[ref>>32] = ref
		}
	}
	for ref, part := range h.sent {
		err, ended := h.ends[ref]
		offset, written := at[ref]
		switch {
		case !ended:
			v.errorf(part, ref, "record %d has no completion", ref)
		case err == nil:
			v.acked++
			if !written {
				v.errorf(part, ref, "record %d is lost", ref)
			} else if h.offsets[ref] >= 0 && h.offsets[ref] != offset {
				v.errorf(part, ref, "record %d was acknowledged at %d and is at %d", ref, h.offsets[ref], offset)
			}
		case errors.Is(err, klamm.ErrOutcomeUnknown):
			v.unknown++
		default:
			v.failed++
			if written {
				v.errorf(part, ref, "record %d failed for certain, and is written: %v", ref, err)
			}
		}
	}
	for part, refs := range v.bad {
		slices.Sort(refs)
		v.bad[part] = slices.Compact(refs)
	}
	return v
}

// read reads the topic to its end with another client.
func (k *kafka) read(topic string) map[int32][]uint64 {
	k.t.Helper()
	log := map[int32][]uint64{}
	k.readRecords(topic, func(r *kgo.Record) {
		log[r.Partition] = append(log[r.Partition], binary.BigEndian.Uint64(r.Value))
	})
	return log
}

func (k *kafka) readRecords(topic string, each func(*kgo.Record)) {
	k.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.addrs...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		k.t.Fatal(err)
	}
	defer cl.Close()
	ends := map[int32]int64{}
	total := int64(0)
	for part := range k.cluster.Topic(topic).Partitions {
		info := k.PartitionInfo(topic, int32(part))
		ends[int32(part)] = info.HighWatermark
		total += info.HighWatermark
	}
	ctx, cancel := context.WithTimeout(k.t.Context(), 30*time.Second)
	defer cancel()
	for seen := int64(0); seen < total; {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			k.t.Fatalf("read %d of %d records of %q", seen, total, topic)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen++; each(r) })
	}
}

func (k *kafka) pipeline(h *history, set ...func(*config.Producer)) *Pipeline {
	k.t.Helper()
	p, err := New(testConfig(set...), k.cluster, h.complete, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	return p
}

// end closes the pipeline and expects all of its memory back.
func end(t *testing.T, p *Pipeline) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	if free := p.mem.free.Load(); free != p.mem.total {
		t.Errorf("%d bytes of %d are free after Close", free, p.mem.total)
	}
}

func TestPipelineWritesAndCompletes(t *testing.T) { onTransports(t, testPipelineWritesAndCompletes) }

func testPipelineWritesAndCompletes(t *testing.T, transport func(*config.Producer)) {
	for _, codec := range []config.Compression{config.CompressionNone, config.CompressionGzip, config.CompressionSnappy, config.CompressionLZ4, config.CompressionZstd} {
		t.Run(codec.String(), func(t *testing.T) {
			k := startKafka(t, 3, 12)
			h := newHistory()
			p := k.pipeline(h, transport, func(c *config.Producer) { c.Compression = codec })
			for i := range uint64(10_000) {
				if err := h.send(p, i, int32(i%12), 100); err != nil {
					t.Fatal(err)
				}
			}
			h.wait()
			end(t, p)
			if acked, _, _ := h.check(t, k.read("t")); acked != 10_000 {
				t.Errorf("%d records acknowledged, want 10000", acked)
			}
		})
	}
}
