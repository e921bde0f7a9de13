package produce

import (
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

// still is a pipeline whose senders never get a connection, so that tests can
// look at its partitions as a sender does.
func still(t *testing.T, set ...func(*config.Producer)) (*Pipeline, *history) {
	t.Helper()
	n := newFakeNetwork(t, 3)
	n.dialErr[1] = errors.New("stays away")
	h := newHistory()
	p, err := newPipeline(testConfig(set...), n, h.complete, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		p.Close(ctx)
	})
	synctest.Wait() // for the producer id
	return p, h
}

func add(t *testing.T, p *Pipeline, partition int32, size int) *Record {
	t.Helper()
	r := &Record{Topic: "t", Partition: partition, TimestampMS: time.Now().UnixMilli(), Value: make([]byte, size)}
	if err := p.Append(r); err != nil {
		t.Fatal(err)
	}
	return r
}

// lookAt is what partition 0's sender sees.
func lookAt(p *Pipeline) (readiness, time.Duration) {
	t := (*(*p.topics.Load())["t"].parts.Load())[0]
	t.mu.Lock()
	defer t.mu.Unlock()
	state, at := t.look(t.owner, p.now())
	if at != never {
		at -= p.now()
	}
	return state, at
}

func queueOf(p *Pipeline, partition int) []*batch {
	t := (*(*p.topics.Load())["t"].parts.Load())[partition]
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all()
}

func batchSize(n int) func(*config.Producer) {
	return func(c *config.Producer) { c.BatchSize = config.Size(n) }
}

func linger(d time.Duration) func(*config.Producer) {
	return func(c *config.Producer) { c.Linger = config.Duration(d) }
}

func TestC073_FullBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := still(t, batchSize(1025), linger(time.Second))
		// Records of 100 bytes, with their overhead 108.
		for i := range 8 {
			if r := add(t, p, 0, 100); r.NewBatch != (i == 0) {
				t.Errorf("record %d: NewBatch = %v", i, r.NewBatch)
			}
			if state, _ := lookAt(p); state != filling {
				t.Fatalf("after record %d: readiness %d, want filling", i, state)
			}
		}
		if n := len(queueOf(p, 0)); n != 1 {
			t.Fatalf("%d batches, want 1", n)
		}
		if r := add(t, p, 0, 100); !r.NewBatch {
			t.Error("the ninth record opened no batch")
		}
		q := queueOf(p, 0)
		if len(q) != 2 || q[0].open || !q[1].open || q[0].header.count != 8 {
			t.Errorf("%d batches, want a closed one of 8 records and an open one", len(q))
		}
		if state, _ := lookAt(p); state != ready {
			t.Errorf("readiness %d, want ready", state)
		}
	})
}

func TestC074_LargeRecordHasItsOwnBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := still(t, batchSize(512), linger(time.Hour), func(c *config.Producer) { c.DeliveryTimeout = config.Duration(2 * time.Hour) })
		add(t, p, 0, 10)
		add(t, p, 0, 1024)
		add(t, p, 0, 10)
		q := queueOf(p, 0)
		if len(q) != 3 || q[1].header.count != 1 || q[1].size() < 1024 {
			t.Fatalf("%d batches, want the large record in the second of three", len(q))
		}
		if state, _ := lookAt(p); state != ready {
			t.Errorf("readiness %d, want ready", state)
		}
	})
}

func TestC075_C077_Linger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := still(t, linger(10*time.Millisecond))
		add(t, p, 0, 10)
		if state, at := lookAt(p); state != filling || at != 10*time.Millisecond {
			t.Errorf("at once: readiness %d in %s, want filling for 10ms", state, at)
		}
		time.Sleep(5 * time.Millisecond)
		if state, at := lookAt(p); state != filling || at != 5*time.Millisecond {
			t.Errorf("after 5ms: readiness %d in %s, want filling for 5ms", state, at)
		}
		time.Sleep(5 * time.Millisecond)
		if state, _ := lookAt(p); state != due {
			t.Errorf("after 10ms: readiness %d, want due", state)
		}
	})
}

func TestC078_RetryBackoff(t *testing.T) {
	b := backoff{first: 100 * time.Millisecond, max: time.Second}
	for n, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		want *= time.Millisecond
		low, high := time.Hour, time.Duration(0)
		for range 500 {
			d := b.after(n + 1)
			low, high = min(low, d), max(high, d)
		}
		ceiling := min(want*12/10, time.Second)
		if low < want*8/10 || high > ceiling {
			t.Errorf("after failure %d: %s to %s, want %s +-20%%, at most 1s", n+1, low, high, want)
		}
		if high-low < want/10 {
			t.Errorf("after failure %d: no jitter", n+1)
		}
	}
	if d := (backoff{}).after(9); d != 0 {
		t.Errorf("retry_backoff_ms = 0 waits %s", d)
	}
}

func TestFlushAndFullMemoryMakeEverythingDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := still(t, linger(10*time.Second), func(c *config.Producer) { c.BufferMemory = 1000 })
		p.Reserve(t.Context(), 900, soon())
		add(t, p, 0, 10)
		if state, _ := lookAt(p); state != filling {
			t.Fatalf("readiness %d, want filling", state)
		}
		end := p.BeginFlush()
		second := p.BeginFlush()
		end()
		end() // once is enough
		if state, _ := lookAt(p); state != due {
			t.Errorf("while flushing: readiness %d, want due", state)
		}
		second()
		if state, _ := lookAt(p); state != filling {
			t.Errorf("after flushing: readiness %d, want filling", state)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.Reserve(ctx, 500, soon()); close(done) }()
		synctest.Wait()
		if state, _ := lookAt(p); state != due {
			t.Errorf("while memory is waited for: readiness %d, want due", state)
		}
		cancel()
		<-done
		p.Release(900)
	})
}

func TestAppendRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := still(t, func(c *config.Producer) { c.MaxRequestSize = 1000 })
		tests := []struct {
			name string
			r    Record
			want error
		}{
			{"unknown topic", Record{Topic: "nowhere"}, klamm.ErrUnknownTopic},
			{"negative partition", Record{Topic: "t", Partition: -1}, klamm.ErrInvalidPartition},
			{"partition too high", Record{Topic: "t", Partition: 3}, klamm.ErrInvalidPartition},
			{"too large", Record{Topic: "t", Value: make([]byte, 1000)}, klamm.ErrRecordTooLarge},
		}
		for _, tt := range tests {
			tt.r.Reserved = 17
			if err := p.Append(&tt.r); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
		}
		if st := p.Stats(); st.BatchesOpen != 0 || st.RecordsAppended != 0 {
			t.Errorf("something was taken over: %+v", st)
		}
	})
}

func TestPartitionsAddedAtRunTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := still(t)
		add(t, p, 2, 10)
		n := p.net.(*fakeNetwork)
		n.mu.Lock()
		n.partCount, n.leaders[3], n.leaders[4] = 5, 1, 1
		n.mu.Unlock()
		add(t, p, 4, 100)
		load := p.Load("t", make([]uint32, 1, 10))
		if len(load) != 5 || load[0] != 0 || load[2] == 0 || load[4] <= load[2] {
			t.Errorf("Load = %v", load)
		}
		if got := p.Load("unknown", load); len(got) != 0 {
			t.Errorf("Load of an unknown topic = %v", got)
		}
	})
}

func TestC117_ConflictsWithIdempotence(t *testing.T) {
	on := true
	tests := []struct {
		name string
		set  func(*config.Producer)
		want string // "" means that idempotence is silently off
	}{
		{"explicit, acks", func(c *config.Producer) { c.EnableIdempotence, c.Acks = &on, 1 }, "acks"},
		{"explicit, retries", func(c *config.Producer) { c.EnableIdempotence, c.Retries = &on, 0 }, "retries"},
		{"explicit, in flight", func(c *config.Producer) { c.EnableIdempotence, c.MaxInFlight = &on, 6 }, "max_in_flight_requests_per_connection"},
		{"acks", func(c *config.Producer) { c.Acks = 1 }, ""},
		{"retries", func(c *config.Producer) { c.Retries = 0 }, ""},
		{"in flight", func(c *config.Producer) { c.MaxInFlight = 6 }, ""},
		{"delivery timeout", func(c *config.Producer) { c.DeliveryTimeout = config.Duration(time.Second) }, "delivery_timeout_ms"},
		{"request size", func(c *config.Producer) { c.MaxRequestSize = 10 }, "max_request_size"},
		{"buffer", func(c *config.Producer) { c.BufferMemory = -1 }, "buffer_memory"},
		{"several", func(c *config.Producer) { c.BufferMemory, c.MaxInFlight = 0, 0 }, "max_in_flight_requests_per_connection"},
		{"level", func(c *config.Producer) { c.Compression, c.CompressionLevel = config.CompressionGzip, 77 }, "compression_level"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := newPipeline(testConfig(tt.set), newFakeNetwork(t, 1), func(*Completion) {}, nil)
			if err == nil {
				defer p.Close(t.Context())
			}
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("New = %v", err)
			case tt.want == "" && p.set.idempotent:
				t.Error("idempotence is on")
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("New = %v, want it to name %s", err, tt.want)
			}
		})
	}
}

// honest serves connections as a broker without faults does; pause is how long
// each request takes.
func honest(pause time.Duration, seen func(*fakeRequest)) func(*fakeConn) {
	return func(c *fakeConn) {
		for {
			r, err := c.read()
			if err != nil {
				return
			}
			if pause > 0 {
				time.Sleep(pause)
			}
			if seen != nil {
				seen(r)
			}
			answers := make([]fakeAnswer, len(r.batches))
			for i, b := range r.batches {
				answers[i] = c.apply(b)
			}
			c.Write(encodeAnswer(r, answers, 0))
		}
	}
}

func TestC095_BatchesAreFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		n := newFakeNetwork(t, 1)
		n.serve = honest(time.Millisecond, func(r *fakeRequest) {
			for _, b := range r.batches {
				sizes = append(sizes, len(b.raw))
			}
		})
		h := newHistory()
		p, err := newPipeline(testConfig(batchSize(5000), linger(100*time.Millisecond)), n, h.complete, nil)
		if err != nil {
			t.Fatal(err)
		}
		for ref := range uint64(1000) {
			if err := h.send(p, ref, 0, 1000); err != nil {
				t.Fatal(err)
			}
		}
		h.wait()
		end(t, p)
		n.stop()
		total := 0
		for _, s := range sizes {
			total += s
			if s > 5000 {
				t.Errorf("a batch of %d bytes", s)
			}
		}
		if mean := total / len(sizes); mean < 3900 {
			t.Errorf("mean batch of %d bytes, want 3900 to 5000", mean)
		}
	})
}

// C091: the callback of an expired batch appends to the same partition.
func TestC091_AppendInExpiryCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 1)
		n.dialErr[1] = errors.New("stays away")
		var p *Pipeline
		ended := make(chan uint64, 20)
		complete := func(c *Completion) {
			for _, ref := range c.Refs {
				ended <- ref
				if ref < 5 {
					r := Record{Topic: "t", Ref: ref + 10, Value: []byte("again")}
					if err := p.Append(&r); err != nil {
						t.Errorf("Append in the callback: %v", err)
					}
				}
			}
		}
		var err error
		if p, err = newPipeline(testConfig(func(c *config.Producer) {
			c.DeliveryTimeout, c.RequestTimeout = config.Duration(time.Second), config.Duration(500*time.Millisecond)
		}), n, complete, nil); err != nil {
			t.Fatal(err)
		}
		for ref := range uint64(5) {
			if err := p.Append(&Record{Topic: "t", Ref: ref}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 10 {
			if ref := <-ended; ref != uint64(i%5+i/5*10) {
				t.Errorf("completion %d is of record %d", i, ref)
			}
		}
		end(t, p)
	})
}

// A22: a buffer of one batch, a hundred senders, and a broker that hangs for a
// while.
func TestA22_BufferOfOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 1)
		first := true
		n.serve = honest(0, func(*fakeRequest) {
			if first {
				first = false
				time.Sleep(5 * time.Second)
			}
		})
		h := newHistory()
		p, err := newPipeline(testConfig(batchSize(500), linger(time.Hour), func(c *config.Producer) {
			c.BufferMemory, c.DeliveryTimeout = 500, config.Duration(3*time.Hour)
		}), n, h.complete, nil)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for s := range uint64(100) {
			wg.Go(func() {
				for i := range uint64(10) {
					if err := h.send(p, s<<32|i, 0, 100); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		stop := p.BeginFlush()
		h.wait()
		stop()
		end(t, p)
		if acked, _, _ := h.check(t, n.refs()); acked != 1000 {
			t.Errorf("%d acknowledged, want 1000", acked)
		}
		n.stop()
	})
}

// A2: delivery timeouts while connections stall, with few buffers that are
// overwritten as soon as they are given back. What the brokers read must be
// whole; readModelBatch checks its CRC.
func TestA2_BuffersAreNotReusedWhileWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 20)
		n.serve = func(c *fakeConn) {
			slow := &fakeConn{Conn: &slowReader{Conn: c.Conn}, network: n, broker: c.broker}
			for {
				r, err := slow.read()
				if err != nil {
					return
				}
				answers := make([]fakeAnswer, len(r.batches))
				for i, b := range r.batches {
					answers[i] = c.apply(b)
				}
				c.Write(encodeAnswer(r, answers, 0))
			}
		}
		h := newHistory()
		p, err := newPipeline(testConfig(batchSize(400), linger(time.Millisecond), func(c *config.Producer) {
			c.DeliveryTimeout, c.RequestTimeout, c.BufferMemory = config.Duration(300*time.Millisecond), config.Duration(200*time.Millisecond), 10_000
		}), n, h.complete, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.pool.poison = true
		for ref := range uint64(3000) {
			if err := h.send(p, ref, int32(ref%20), 60); err != nil {
				t.Fatal(err)
			}
		}
		h.wait()
		end(t, p)
		acked, _, unknown := h.check(t, n.refs())
		if acked == 0 || unknown == 0 {
			t.Errorf("%d acknowledged, %d unknown: the stalls do not reach what they are for", acked, unknown)
		}
		n.stop()
	})
}

// slowReader is a connection that stalls in the middle of every few frames.
type slowReader struct {
	net.Conn
	reads int
}

func (s *slowReader) Read(p []byte) (int, error) {
	if s.reads++; s.reads%13 == 0 {
		time.Sleep(400 * time.Millisecond)
	}
	return s.Conn.Read(p[:min(len(p), 700)])
}

func TestSplitKeepsRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := genRecords(t)
		c := codec(rapid.IntRange(0, 4).Draw(t, "codec"))
		raw := encodeBatch(records, c, batchHeader{producerID: 1, baseSequence: 5})
		b := &batch{buf: &buffer{b: raw}, header: batchHeader{count: int32(len(records)), baseTimestamp: records[0].TimestampMS, codec: codec(raw[22])}}
		for i := range records {
			b.refs = append(b.refs, uint64(i))
		}
		got, err := b.records()
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range got {
			if r.ref != uint64(i) || r.timestamp != records[i].TimestampMS {
				t.Fatalf("record %d: ref %d at %d, want %d", i, r.ref, r.timestamp, records[i].TimestampMS)
			}
		}
		if len(got) > 1 {
			if cut := middle(got); cut < 1 || cut >= len(got) {
				t.Fatalf("cut at %d of %d", cut, len(got))
			}
		}
	})
}

// C087: after splits all memory is back, and no buffer is given back twice.
func TestC087_SplitGivesMemoryBackOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 1)
		n.serve = func(c *fakeConn) {
			for {
				r, err := c.read()
				if err != nil {
					return
				}
				answers := make([]fakeAnswer, len(r.batches))
				for i, b := range r.batches {
					if answers[i] = (fakeAnswer{code: klamm.CodeMessageTooLarge, offset: -1}); len(b.raw) <= 300 {
						answers[i] = c.apply(b)
					}
				}
				c.Write(encodeAnswer(r, answers, 0))
			}
		}
		for _, c := range []config.Compression{config.CompressionNone, config.CompressionGzip, config.CompressionZstd} {
			h := newHistory()
			p, err := newPipeline(testConfig(batchSize(8000), func(cfg *config.Producer) { cfg.Compression, cfg.BufferMemory = c, 20_000 }), n, h.complete, nil)
			if err != nil {
				t.Fatal(err)
			}
			p.pool.poison = true
			for ref := range uint64(500) {
				if err := h.send(p, ref, 0, 50); err != nil {
					t.Fatal(err)
				}
			}
			h.wait()
			st := p.Stats()
			end(t, p)
			if st.BatchesSplit == 0 || st.RecordsAcked != 500 {
				t.Errorf("%s: %d splits, %d records acknowledged", c, st.BatchesSplit, st.RecordsAcked)
			}
			h.check(t, n.refs())
			n.logs[0].refs = nil
		}
		n.stop()
	})
}

func TestRatioEstimate(t *testing.T) {
	tp := &topic{}
	tp.ratio.Store(math.Float64bits(1))
	for range 300 {
		tp.observeRatio(0.2)
	}
	if got := math.Float64frombits(tp.ratio.Load()); math.Abs(got-0.2) > 0.001 {
		t.Errorf("after many batches of ratio 0.2 the estimate is %g", got)
	}
	tp.observeRatio(0.9)
	if got := math.Float64frombits(tp.ratio.Load()); got != 0.9 {
		t.Errorf("after one of 0.9 it is %g", got)
	}
}
