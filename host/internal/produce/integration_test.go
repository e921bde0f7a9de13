package produce

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/internal/config"
)

// cutter is a cluster whose connections for records can be cut.
type cutter struct {
	*cluster.Cluster
	rng   *rand.Rand
	mu    sync.Mutex
	conns []*cluster.Conn
	cuts  int
}

func newCutter(c *cluster.Cluster, seed uint64) *cutter {
	return &cutter{Cluster: c, rng: rand.New(rand.NewPCG(seed, 2<<32))}
}

func (c *cutter) Dial(ctx context.Context, broker int32) (*cluster.Conn, error) {
	conn, err := c.Cluster.Dial(ctx, broker)
	if err == nil {
		c.mu.Lock()
		c.conns = append(c.conns, conn)
		c.mu.Unlock()
	}
	return conn, err
}

// cut ends one connection. It closes the socket alone, as a network does.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.conns) == 0 {
		return
	}
	i := c.rng.IntN(len(c.conns))
	c.conns[i].Conn.Close()
	c.conns = append(c.conns[:i], c.conns[i+1:]...)
	c.cuts++
}

// fault has kfake answer every n-th batch or so of three of twelve partitions with
// err. The seed alone decides which of a partition's batches, as they come.
func (k *kafka) fault(seed uint64, n int, err *kerr.Error) *kfake.FaultHandle {
	var faults []kfake.Fault
	for _, partition := range rand.New(rand.NewPCG(seed, uint64(err.Code))).Perm(12)[:3] {
		rng := rand.New(rand.NewPCG(seed, uint64(err.Code)<<8|uint64(partition)))
		faults = append(faults, kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Err: err, Count: -1, Partitions: []int32{int32(partition)},
			When: func(kmsg.Request) bool { return rng.IntN(n) == 0 }, // on the cluster's goroutine
		})
	}
	return k.Fault(faults...)
}

// onTransports runs a test on our transport and on sarama's.
func onTransports(t *testing.T, test func(t *testing.T, transport func(*config.Producer))) {
	for _, name := range []config.Transport{"klamm", config.TransportSarama} {
		t.Run(string(name), func(t *testing.T) { test(t, func(c *config.Producer) { c.Transport = name }) })
	}
}

// TestNothingIsLostDoubledOrReordered sends 100,000 records through cut
// connections, moving leaders and every retriable error to brokers of another
// hand, and reads them back with another client.
func TestNothingIsLostDoubledOrReordered(t *testing.T) {
	onTransports(t, testNothingIsLostDoubledOrReordered)
}

func testNothingIsLostDoubledOrReordered(t *testing.T, transport func(*config.Producer)) {
	records := uint64(100_000)
	if testing.Short() {
		records = 20_000
	}
	seed := seedOf(t)
	k := startKafka(t, 3, 12)
	c := newCutter(k.cluster, seed)
	h := newHistory()
	p := k.recorded(c, h, transport, func(c *config.Producer) {
		c.Compression, c.BatchSize, c.RetryBackoff = config.CompressionLZ4, 500, config.Duration(5*time.Millisecond)
		c.BufferMemory = 1 << 18 // so that most records meet the troubles
	})
	var faults []*kfake.FaultHandle
	for _, err := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.KafkaStorageError, kerr.UnknownTopicOrPartition, kerr.OutOfOrderSequenceNumber, kerr.CorruptMessage} {
		faults = append(faults, k.fault(seed, 40, err))
	}
	sending := make(chan struct{})
	var trouble sync.WaitGroup
	trouble.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 1<<32))
		for i := 0; ; i++ {
			select {
			case <-sending:
				return
			case <-time.After(15 * time.Millisecond):
				c.cut()
				if i%4 == 0 {
					k.MoveTopicPartition("t", rng.Int32N(12), rng.Int32N(3))
				}
			}
		}
	})
	var senders sync.WaitGroup
	for s := range uint64(4) {
		senders.Go(func() {
			for i := range records / 4 {
				if err := h.send(p, s<<32|i, int32(i%12), 100); err != nil {
					t.Error(err)
					return
				}
				if i%500 == 0 {
					time.Sleep(5 * time.Millisecond) // lets the troubles take place
				}
			}
		})
	}
	senders.Wait()
	close(sending)
	trouble.Wait()
	for _, f := range faults {
		f.Remove()
	}
	h.wait()
	st := p.Stats()
	end(t, p)
	acked, failed, unknown := h.check(t, k.read("t"))
	t.Logf("%d acknowledged, %d failed, %d unknown; %d cuts, %+v", acked, failed, unknown, c.cuts, st)
	if st.BatchesRetried == 0 || c.cuts == 0 {
		t.Error("there was no trouble")
	}
	if failed > 0 || acked+unknown != int(records) {
		t.Errorf("%d of %d records acknowledged, %d failed for certain", acked, records, failed)
	}
}

// TestA3_OutOfOrderOnOnePartition: one of twelve partitions gets
// OUT_OF_ORDER_SEQUENCE_NUMBER while five requests are in flight on all.
func TestA3_OutOfOrderOnOnePartition(t *testing.T) { onTransports(t, testA3_OutOfOrderOnOnePartition) }

func testA3_OutOfOrderOnOnePartition(t *testing.T, transport func(*config.Producer)) {
	k := startKafka(t, 1, 12)
	h := newHistory()
	p := k.recorded(k.cluster, h, transport, func(c *config.Producer) { c.BatchSize, c.RetryBackoff = 500, config.Duration(time.Millisecond) })
	var hits atomic.Int32
	k.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Partitions: []int32{5}, Err: kerr.OutOfOrderSequenceNumber, Count: -1,
		When: func(kmsg.Request) bool { return hits.Add(1)%20 < 3 }, // twice in a row means a new epoch
	})
	for ref := range uint64(20_000) {
		if err := h.send(p, ref, int32(ref%12), 100); err != nil {
			t.Fatal(err)
		}
	}
	h.wait()
	st := p.Stats()
	end(t, p)
	if acked, _, unknown := h.check(t, k.read("t")); acked+unknown != 20_000 {
		t.Errorf("%d acknowledged, %d unknown, want 20000", acked, unknown)
	}
	t.Logf("%d retries, %d epochs, %d unknown", st.BatchesRetried, st.EpochBumps, st.RecordsUnknown)
}

// TestE2_MessageTooLarge: a topic takes smaller batches than we make.
func TestE2_MessageTooLarge(t *testing.T) { onTransports(t, testE2_MessageTooLarge) }

func testE2_MessageTooLarge(t *testing.T, transport func(*config.Producer)) {
	k := startKafka(t, 1, 2, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "1000"}))
	h := newHistory()
	p := k.pipeline(h, transport)
	for ref := range uint64(2000) {
		size := 100
		if ref == 700 {
			size = 2000 // too large on its own
		}
		if err := h.send(p, ref, int32(ref%2), size); err != nil {
			t.Fatal(err)
		}
	}
	h.wait()
	st := p.Stats()
	end(t, p)
	if acked, failed, _ := h.check(t, k.read("t")); acked != 1999 || failed != 1 {
		t.Errorf("%d acknowledged, %d failed, want 1999 and 1; %d splits", acked, failed, st.BatchesSplit)
	}
	if h.ends[700] == nil {
		t.Error("the large record did not fail")
	}
}

// TestN5_ConnectionsLiveShort has every connection end after 50 ms.
func TestN5_ConnectionsLiveShort(t *testing.T) { onTransports(t, testN5_ConnectionsLiveShort) }

func testN5_ConnectionsLiveShort(t *testing.T, transport func(*config.Producer)) {
	k := startKafka(t, 3, 6)
	c := newCutter(k.cluster, seedOf(t))
	h := newHistory()
	p := k.recorded(c, h, transport)
	for ref := range uint64(10_000) {
		if err := h.send(p, ref, int32(ref%6), 100); err != nil {
			t.Fatal(err)
		}
		if ref%500 == 0 {
			time.Sleep(20 * time.Millisecond)
			c.cut()
			c.cut()
		}
	}
	h.wait()
	end(t, p)
	if acked, _, _ := h.check(t, k.read("t")); acked != 10_000 {
		t.Errorf("%d acknowledged, want 10000", acked)
	}
}

// TestHeadersAndNulls reads back, with another client, everything that a record
// has.
func TestHeadersAndNulls(t *testing.T) { onTransports(t, testHeadersAndNulls) }

func testHeadersAndNulls(t *testing.T, transport func(*config.Producer)) {
	k := startKafka(t, 1, 1)
	ended := make(chan error, 10)
	p, err := New(testConfig(transport), k.cluster, func(c *Completion) {
		for range c.Refs {
			ended <- c.Err
		}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	records := []Record{
		{Topic: "t", TimestampMS: 5000, Key: []byte("k"), Value: []byte("v"), Headers: []klamm.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "", Value: nil}}},
		{Topic: "t", TimestampMS: 1000, Key: nil, Value: []byte{}},
		{Topic: "t", TimestampMS: 9000, Key: []byte{}, Value: nil, Headers: []klamm.Header{{Key: "h", Value: []byte{}}}},
	}
	for i := range records {
		if err := p.Append(&records[i]); err != nil {
			t.Fatal(err)
		}
	}
	for range records {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	end(t, p)
	i := 0
	k.readRecords("t", func(g *kgo.Record) {
		w := records[i]
		if !sameBytes(g.Key, w.Key) || !sameBytes(g.Value, w.Value) || g.Timestamp.UnixMilli() != w.TimestampMS || len(g.Headers) != len(w.Headers) {
			t.Errorf("record %d: got %+v, want %+v", i, g, w)
		}
		for j := range g.Headers {
			if g.Headers[j].Key != w.Headers[j].Key || !sameBytes(g.Headers[j].Value, w.Headers[j].Value) {
				t.Errorf("record %d header %d: got %+v, want %+v", i, j, g.Headers[j], w.Headers[j])
			}
		}
		i++
	})
	if i != len(records) {
		t.Errorf("%d records read, want %d", i, len(records))
	}
}
