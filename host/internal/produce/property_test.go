package produce

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

var (
	seeds    = flag.Int("seeds", 150, "random schedules of TestIdempotenceUnderFaults")
	onlySeed = flag.Uint64("seed", 0, "play this schedule only")
)

// chaos is a cluster whose brokers misbehave by a seed: they are slow, lose
// requests and answers, apply requests whose sender has long gone away, move
// leaders, and refuse batches with every code of the error table. They tell no
// lies that no producer could survive. By half of the seeds they may call a
// batch out of order that they have just written, but once only, and refuse
// for good only what is not in the log. By the others such an attempt is not
// written, but they refuse what an earlier one has written, with any code and
// as often as they like.
type chaos struct {
	t    *testing.T
	rng  *rand.Rand // guarded by mu
	mu   sync.Mutex
	net  *fakeNetwork
	calm bool // no more faults
	late bool // requests may be applied long after
	deny bool // what an attempt before has written is refused as if it were not
	lied map[string]bool
	sent map[string][]byte
	// open counts a connection's requests without an answer.
	open  map[*fakeConn]int
	limit int
	fault int // one in so many batches
	story bytes.Buffer
}

func (c *chaos) chance(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.calm && c.rng.IntN(n) == 0
}

func (c *chaos) pick(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(n)
}

// serve reads requests as they come and works them off in order.
func (c *chaos) serve(conn *fakeConn) {
	requests := make(chan *fakeRequest, 64)
	go func() {
		for r := range requests {
			if !c.work(conn, r) {
				conn.Close()
			}
		}
	}()
	defer close(requests)
	for {
		r, err := conn.read()
		if err != nil {
			return
		}
		c.note(conn, r)
		requests <- r
	}
}

// note checks what must hold for every request: at most so many in flight, at
// most one batch of a partition, and each retransmission the same bytes.
func (c *chaos) note(conn *fakeConn, r *fakeRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[conn]++
	if c.open[conn] > c.limit {
		c.t.Errorf("%d requests in flight, limit %d", c.open[conn], c.limit)
	}
	parts := map[int32]bool{}
	for _, b := range r.batches {
		if parts[b.partition] {
			c.t.Errorf("two batches of partition %d in one request", b.partition)
		}
		parts[b.partition] = true
		h := b.header
		if h.ProducerID < 0 {
			continue
		}
		key := fmt.Sprint(b.partition, h.ProducerID, h.ProducerEpoch, h.FirstSequence, h.NumRecords)
		if before, ok := c.sent[key]; ok && !bytes.Equal(before, b.raw) {
			c.t.Errorf("batch %s was not repeated as it was", key)
		}
		c.sent[key] = b.raw
	}
}

// work answers one request. It reports false when the connection must end.
func (c *chaos) work(conn *fakeConn, r *fakeRequest) bool {
	time.Sleep(time.Duration(c.pick(20)) * time.Millisecond)
	switch {
	case c.chance(c.fault): // lost on its way here
		return false
	case c.late && c.chance(c.fault): // we hang, and go on long after
		pause := time.Duration(c.pick(8000)) * time.Millisecond
		time.AfterFunc(pause, func() {
			for _, b := range r.batches {
				c.trace("applies late", conn, b, conn.apply(b))
			}
		})
		time.Sleep(3 * time.Second)
		return false
	}
	answers := make([]fakeAnswer, len(r.batches))
	for i, b := range r.batches {
		answers[i] = c.answer(conn, b)
	}
	if c.chance(c.fault) { // the answer is lost on its way back
		return false
	}
	throttle := 0
	if c.chance(c.fault * 4) {
		throttle = c.pick(300)
	}
	c.mu.Lock()
	c.open[conn]--
	c.mu.Unlock()
	_, err := conn.Write(encodeAnswer(r, answers, int32(throttle)))
	return err == nil
}

var (
	refusals = []klamm.Code{
		klamm.CodeNotLeaderForPartition, klamm.CodeUnknownTopicOrPartition, klamm.CodeLeaderNotAvailable, klamm.CodeKafkaStorageError,
		klamm.CodeFencedLeaderEpoch, klamm.CodeUnknownLeaderEpoch, klamm.CodeNotEnoughReplicas, klamm.CodeCorruptMessage,
		klamm.CodeThrottlingQuotaExceeded, klamm.CodeRequestTimedOut, klamm.CodeOutOfOrderSequenceNumber, klamm.CodeOutOfOrderSequenceNumber,
	}
	// With these a broker answers although it has written the batch. Where a
	// leader that is none any more tells so, it tells the offset too.
	writes = []klamm.Code{klamm.CodeRequestTimedOut, klamm.CodeNotEnoughReplicasAfterAppend, klamm.CodeNotLeaderForPartition, klamm.CodeKafkaStorageError, klamm.CodeUnknownServerError}
	finals = []klamm.Code{klamm.CodeInvalidRecord, klamm.CodeUnknownProducerId, klamm.CodeInvalidProducerEpoch, klamm.CodeTopicAuthorizationFailed, klamm.CodeMessageTooLarge, klamm.CodeMessageTooLarge}
)

func (c *chaos) answer(conn *fakeConn, b *modelBatch) fakeAnswer {
	a := c.decide(conn, b)
	c.trace("answers", conn, b, a)
	return a
}

// trace adds to the story, which is told when the schedule fails.
func (c *chaos) trace(what string, conn *fakeConn, b *modelBatch, a fakeAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(&c.story, "%s p%d broker %d %s pid=%d epoch=%d seq=%d refs=%v: %s offset=%d\n", time.Now().Format("05.000"), b.partition,
		conn.broker, what, b.header.ProducerID, b.header.ProducerEpoch, b.header.FirstSequence, b.refs, a.code.Name(), a.offset)
}

func (c *chaos) decide(conn *fakeConn, b *modelBatch) fakeAnswer {
	a := fakeAnswer{offset: -1, logAppend: -1, leader: -1, leaderEpoch: -1}
	if !c.chance(c.fault) {
		return conn.apply(b)
	}
	kind := c.pick(3)
	if kind == 1 {
		a.code = writes[c.pick(len(writes))]
		if !c.deny && c.pick(3) == 0 && c.mayLie(b) {
			a.code = klamm.CodeOutOfOrderSequenceNumber
		}
		done := conn.apply(b)
		if done.code != klamm.CodeNone {
			return done
		}
		if a.code == klamm.CodeNotLeaderForPartition {
			a.offset = done.offset
		}
		return a
	}
	codes := refusals
	if kind == 2 && (c.deny || !c.written(b)) {
		codes = finals
	}
	a.code = codes[c.pick(len(codes))]
	if a.code == klamm.CodeOutOfOrderSequenceNumber && !c.deny && !c.mayLie(b) {
		return conn.apply(b)
	}
	return a
}

// mayLie reports whether the broker may call a batch out of order that is not:
// once. A producer that is told so twice must believe it.
func (c *chaos) mayLie(b *modelBatch) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.header.ProducerID < 0 {
		return false
	}
	key := fmt.Sprint(b.refs)
	if c.lied[key] {
		return false
	}
	c.lied[key] = true
	return true
}

// written reports whether any of the batch's records is in the log.
func (c *chaos) written(b *modelBatch) bool {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	return slices.ContainsFunc(b.refs, func(ref uint64) bool { return slices.Contains(c.net.logs[b.partition].refs, ref) })
}

// TestIdempotenceUnderFaults plays random schedules: whatever brokers and
// network do, each acknowledged record is in the log once and in order, and no
// record that failed for certain is there.
func TestIdempotenceUnderFaults(t *testing.T) {
	list := make([]uint64, *seeds)
	for i := range list {
		list[i] = uint64(i) + 1
	}
	if *onlySeed > 0 {
		list = []uint64{*onlySeed}
	}
	var acked, failed, unknown, bumps, retries, splits int64
	for _, seed := range list {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, st := playChaos(t, seed, true, 0)
				// Epochs fence what an old connection left behind. A new
				// producer id does not, so such records, whose outcome is
				// unknown, may come late then.
				h.lateUnknown = st.ProducerID > 1
				a, f, u := h.check(t, h.log)
				if t.Failed() {
					t.Log(h.story)
				}
				acked, failed, unknown = acked+int64(a), failed+int64(f), unknown+int64(u)
				bumps, retries, splits = bumps+st.EpochBumps, retries+st.BatchesRetried, splits+st.BatchesSplit
			})
		})
	}
	t.Logf("%d schedules: %d records acknowledged, %d failed, %d unknown, %d retries, %d splits, %d epochs", len(list), acked, failed, unknown, retries, splits, bumps)
	if *onlySeed == 0 && (acked == 0 || failed == 0 || unknown == 0 || bumps == 0 || splits == 0) {
		t.Error("the schedules do not reach every outcome any more")
	}
}

// A10: without sequences order holds with one request in flight. Retries may
// write a batch twice then, but never ahead of one before it.
func TestA10_OrderWithoutIdempotence(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, _ := playChaos(t, seed, false, 1)
				for part, refs := range h.log {
					h.log[part] = firstCopies(refs)
				}
				for ref := range h.sent { // may be a later copy's
					h.offsets[ref] = -1
				}
				h.check(t, h.log)
			})
		})
	}
}

// Without sequences and with several requests in flight order may be lost, and
// records written twice, but none may be lost.
func TestNothingIsLostWithoutIdempotence(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, _ := playChaos(t, seed, false, 5)
				for part, refs := range h.log {
					slices.Sort(refs)
					h.log[part] = slices.Compact(refs)
				}
				for ref := range h.sent {
					h.offsets[ref] = -1
				}
				h.check(t, h.log)
			})
		})
	}
}

// firstCopies returns refs without what was there before.
func firstCopies(refs []uint64) []uint64 {
	seen := map[uint64]bool{}
	return slices.DeleteFunc(refs, func(ref uint64) bool {
		again := seen[ref]
		seen[ref] = true
		return again
	})
}

func playChaos(t *testing.T, seed uint64, idempotent bool, inFlight int) (*history, Stats) {
	c := &chaos{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), lied: map[string]bool{}, sent: map[string][]byte{}, open: map[*fakeConn]int{}, late: idempotent,
	}
	partitions := 1 + c.pick(4)
	c.net = newFakeNetwork(t, partitions)
	c.net.serve = c.serve
	if c.pick(4) == 0 {
		c.net.firstEpoch = 32765
	}
	c.net.minVersion = 3
	c.net.maxVersion = int16(7 + c.pick(5)) // zstd needs 7
	c.fault = 4 + c.pick(40)
	c.deny = idempotent && c.pick(2) == 0
	cfg := testConfig(func(cfg *config.Producer) {
		cfg.Linger = config.Duration(time.Duration(c.pick(10)) * time.Millisecond)
		cfg.BatchSize = config.Size(80 + c.pick(400))
		cfg.MaxInFlight = 1 + c.pick(5)
		cfg.RequestTimeout = config.Duration(2 * time.Second)
		cfg.DeliveryTimeout = config.Duration(time.Duration(3+c.pick(20)) * time.Second)
		cfg.BufferMemory = config.Size(2000 + c.pick(20000))
		cfg.Compression = config.Compression([]int{0, 0, 1, 4}[c.pick(4)])
		if !idempotent {
			cfg.MaxInFlight = inFlight
			off := false
			cfg.EnableIdempotence, cfg.Acks = &off, 1
		}
	})
	c.limit = cfg.MaxInFlight
	h := newHistory()
	p, err := newPipeline(cfg, c.net, h.complete, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.pool.poison = true
	for ref := range uint64(200) {
		// Buffer memory may be used up for a minute while nothing gets through.
		if err := h.send(p, ref, int32(c.pick(partitions)), 8+c.pick(60)); err != nil && !errors.Is(err, klamm.ErrBufferFull) {
			t.Fatal(err)
		}
		switch c.pick(30) {
		case 0:
			c.net.move(int32(c.pick(partitions)), int32(c.pick(4)-1))
		case 1:
			time.Sleep(time.Duration(c.pick(3000)) * time.Millisecond)
		case 2, 3, 4:
			time.Sleep(time.Duration(c.pick(60)) * time.Millisecond)
		}
	}
	c.mu.Lock()
	c.calm = true
	c.mu.Unlock()
	for part := range partitions { // every partition has a leader in the end
		c.net.move(int32(part), int32(1+part%2))
	}
	h.wait()
	// A11: whatever happened, every partition takes records now. The last late
	// request must have been applied before.
	time.Sleep(10 * time.Second)
	for part := range partitions {
		ref := uint64(1000 + part)
		if err := h.send(p, ref, int32(part), 8); err != nil {
			t.Fatal(err)
		}
		h.wait()
		if err := h.ends[ref]; err != nil {
			t.Errorf("partition %d is stuck: %v", part, err)
		}
	}
	st := p.Stats()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
	if free := p.mem.free.Load(); free != p.mem.total {
		t.Errorf("%d bytes of %d are free after Close", free, p.mem.total)
	}
	c.net.stop()
	h.log = c.net.refs()
	h.story = c.story.String()
	return h, st
}
