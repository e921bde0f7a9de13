package partitioner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// WASMConfig configures a partitioner that is a plugin.
type WASMConfig struct {
	// OnError says what becomes of a record that the plugin faults on: "default"
	// leaves it to the default partitioner, "fail" fails it. Default "default".
	OnError string
	// Fallback partitions what the plugin passes when Partition is called; a
	// caller of PartitionBatch does that itself. Default Default(DefaultConfig{}).
	Fallback Partitioner
	// Timeout is the plugin's. The search for a record that it faults on takes
	// at most twice as long. Default 50ms.
	Timeout time.Duration
	// Metrics are told of calls, verdicts and faults. Nil: nobody is.
	Metrics Metrics
}

// Metrics is told what a WASM partitioner did. See interceptor.Metrics, which
// has these methods too.
type Metrics interface {
	Call(plugin, hook string, records int, d time.Duration)
	Verdict(plugin, hook, verdict string, n int)
	Fault(plugin, hook, kind string)
}

// WASMStats counts records since the partitioner was opened. Each record is in
// exactly one of Routed, Passed, Failed, Defaulted and Refused.
type WASMStats struct {
	Calls     uint64 // of the plugin, also those that faulted
	Faults    uint64 // calls that faulted
	Routed    uint64 // to the partition that the plugin chose
	Passed    uint64 // left to the default partitioner by the plugin
	Failed    uint64 // failed by the plugin's verdict
	Defaulted uint64 // left to the default partitioner by on_error
	Refused   uint64 // failed by on_error
}

// WASM is a partitioner that is a plugin: its klamm_partition answers ROUTE with
// a partition, PASS for the default partitioner, or FAIL.
//
// A fault (a trap, a missed deadline, nonsense, a partition that the topic does
// not have) hits the record that causes it alone: the others are judged again
// without it. It gets OnError and is counted; it never lands on a random
// partition unseen.
//
// It belongs to one lane and is not safe for concurrent use. It does not
// implement Accounter: tell its fallback what was appended.
type WASM struct {
	seat     *runtime.Seat
	host     *seatHost
	name     string
	fail     bool
	fallback Partitioner
	timeout  time.Duration
	metrics  Metrics
	stats    WASMStats

	block runtime.Block
	loads bool // the plugin was shown loads last
	run   batch
	one   struct { // Partition's own batch
		rec [1]*klamm.Record
		ref [1]uint64
		out [1]int32
	}
}

var (
	_ Partitioner = (*WASM)(nil)
	_ Batched     = (*WASM)(nil)
)

// batch is one PartitionBatch.
type batch struct {
	recs  []*klamm.Record
	refs  []uint64
	out   []int32
	topic *Topic
	avail []bool   // the topic's, all true where it knows nothing
	load  []uint32 // the topic's, and what was routed since
	errs  []error  // nil until a record fails
	until time.Time
}

// OpenWASM opens a seat at the plugin for a partitioner. seat.Host gets the
// plugin's log lines and metrics and may be nil; records are the partitioner's
// own business, so that values left out of a block can be pulled.
func OpenWASM(ctx context.Context, p *runtime.Plugin, seat runtime.SeatConfig, cfg WASMConfig) (*WASM, error) {
	if cfg.OnError != "" && cfg.OnError != "default" && cfg.OnError != "fail" {
		return nil, fmt.Errorf("plugin %q: partitioner_on_error %q: it is \"default\" or \"fail\"", p.Name(), cfg.OnError)
	}
	host := &seatHost{inner: seat.Host}
	seat.Host = host
	s, err := p.Seat(ctx, seat)
	if err != nil {
		return nil, err
	}
	if g := s.Generation(); !g.Hooks.Has(abi.Partition) {
		_ = s.Close(ctx) // the error that matters is the other one
		return nil, fmt.Errorf("plugin %q: it is no partitioner: it has no hook %s", p.Name(), abi.Partition)
	}
	w := newWASM(s, host, cfg)
	w.name = p.Name()
	return w, nil
}

// NewWASM returns a partitioner at a seat that is open already, and that it
// closes. onError and fallback are those of WASMConfig. The seat's Host must know
// the running records by itself where the plugin pulls values or headers; prefer
// OpenWASM, which sees to it.
func NewWASM(seat *runtime.Seat, onError string, fallback Partitioner) *WASM {
	return newWASM(seat, nil, WASMConfig{OnError: onError, Fallback: fallback})
}

func newWASM(seat *runtime.Seat, host *seatHost, cfg WASMConfig) *WASM {
	if cfg.Fallback == nil {
		cfg.Fallback = Default(DefaultConfig{})
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 50 * time.Millisecond
	}
	if cfg.Metrics == nil {
		cfg.Metrics = noMetrics{}
	}
	if host == nil {
		host = new(seatHost)
	}
	return &WASM{
		seat: seat, host: host, name: "partitioner", fail: cfg.OnError == "fail",
		fallback: cfg.Fallback, timeout: cfg.Timeout, metrics: cfg.Metrics,
	}
}

// Partition asks the plugin about one record, and the fallback where the plugin
// leaves it to the default.
func (w *WASM) Partition(rec *klamm.Record, t *Topic) (int32, error) {
	w.one.rec[0] = rec
	err := w.PartitionBatch(w.one.rec[:], w.one.ref[:], t, w.one.out[:])
	w.one.rec[0] = nil
	switch to := w.one.out[0]; to {
	case NotPartitioned:
		return klamm.NoPartition, RecordError(err, 0)
	case UseDefault:
		return w.fallback.Partition(rec, t)
	default:
		return to, nil
	}
}

// PartitionBatch asks the plugin about records of one topic, as many in one call
// as a block holds.
func (w *WASM) PartitionBatch(recs []*klamm.Record, refs []uint64, t *Topic, out []int32) error {
	if err := t.check(); err != nil {
		for i := range out {
			out[i] = NotPartitioned
		}
		return err
	}
	w.begin(recs, refs, t, out)
	for at := 0; at < len(recs); {
		n, err := w.call(at, len(recs), false)
		switch {
		case err == nil:
		case runtime.IsFault(err):
			w.run.until = time.Now().Add(2 * w.timeout)
			w.split(at, at+n, err)
		default:
			w.withoutCall(at, at+n, err)
		}
		at += n
	}
	errs := w.run.errs
	w.run.recs, w.run.refs, w.run.out, w.run.topic, w.run.errs = nil, nil, nil, nil, nil
	if errs != nil {
		return &BatchError{Errs: errs}
	}
	return nil
}

func (w *WASM) begin(recs []*klamm.Record, refs []uint64, t *Topic, out []int32) {
	r := &w.run
	r.recs, r.refs, r.out, r.topic = recs, refs, out, t
	r.avail, r.load = r.avail[:0], r.load[:0]
	for i := range t.Partitions {
		r.avail = append(r.avail, t.available(i))
		r.load = append(r.load, t.load(i))
	}
}

// call asks the plugin about the records from at on, before end, and applies its
// verdicts. n is how many it was asked about, or how many it answered for.
func (w *WASM) call(at, end int, retry bool) (n int, err error) {
	g := w.seat.Generation()
	n = w.encode(g, at, end)
	w.block.Retry = retry
	w.host.begin(w.run.recs[at : at+n])
	start := time.Now()
	v, err := w.seat.Judge(context.Background(), abi.Partition, &w.block)
	w.host.end(err == nil)
	if errors.Is(err, runtime.ErrOutdated) {
		return 0, nil // once more, for the new generation
	}
	if err != nil {
		if runtime.IsFault(err) {
			w.stats.Calls++
			w.stats.Faults++
			w.metrics.Call(w.name, abi.Partition.String(), 0, time.Since(start))
		}
		return n, err
	}
	w.stats.Calls++
	w.metrics.Call(w.name, abi.Partition.String(), v.Len(), time.Since(start))
	w.apply(g, at, v)
	return v.Len(), nil
}

// encode builds the block of the records from at on, before end, as many as fit.
func (w *WASM) encode(g *runtime.Generation, at, end int) int {
	r, b, fields := &w.run, &w.block, g.Fields(abi.Partition)
	now := time.Now().UnixMilli()
	b.Reset(fields, now, false)
	w.loads = fields&abi.FieldLoad != 0
	topic := b.AddTopic(r.topic.Name, int32(len(r.topic.Partitions)), r.topic.Epoch, r.avail, r.load)
	n := 0
	head := runtime.Head{Topic: topic, Partition: klamm.NoPartition, Offset: klamm.NoOffset, TimestampMS: now}
	for ; at+n < end; n++ {
		rec := r.recs[at+n]
		if n > 0 && !b.Fits(bytesOf(rec, fields)) {
			break
		}
		head.Key, head.Value, head.Ref, head.Headers = rec.Key, rec.Value, r.refs[at+n], len(rec.Headers)
		if fields&abi.FieldTimestamp != 0 {
			if head.TimestampMS = now; !rec.Timestamp.IsZero() {
				head.TimestampMS = rec.Timestamp.UnixMilli()
			}
		}
		b.Append(&head)
		for _, h := range rec.Headers {
			b.AddHeader(h.Key, h.Value)
		}
	}
	return n
}

// bytesOf is what the asked fields of a record take in a block.
func bytesOf(rec *klamm.Record, fields abi.Fields) int {
	n := 0
	if fields&abi.FieldKey != 0 {
		n += len(rec.Key)
	}
	if fields&abi.FieldValue != 0 {
		n += len(rec.Value)
	}
	if fields&abi.FieldHeaders != 0 && len(rec.Headers) > 0 {
		n += bytesOfHeaders(rec.Headers)
	}
	return n
}

func bytesOfHeaders(hs []klamm.Header) (n int) {
	for i := range hs {
		n += abi.HeaderEntrySize + len(hs[i].Key) + len(hs[i].Value)
	}
	return n
}

// apply notes the verdicts of the records from at on.
func (w *WASM) apply(g *runtime.Generation, at int, v *runtime.Verdicts) {
	routed, passed, failed := 0, 0, 0
	for i, word := range v.Words() {
		switch word.Code() {
		case abi.Route:
			if err := w.route(at+i, int32(word.Arg())); err != nil {
				w.policy(at+i, "partition_range", err)
			} else {
				routed++
			}
		case abi.Fail:
			failed++
			verdict := v.At(i)
			w.refuse(at+i, errors.New(verdict.Why(g.Reason(verdict.Reason))))
		default:
			passed++
			w.run.out[at+i] = UseDefault
		}
	}
	w.stats.Routed += uint64(routed)
	w.stats.Passed += uint64(passed)
	w.stats.Failed += uint64(failed)
	w.count(abi.Route, routed)
	w.count(abi.Pass, passed)
	w.count(abi.Fail, failed)
}

func (w *WASM) count(c abi.Code, n int) {
	if n > 0 {
		w.metrics.Verdict(w.name, abi.Partition.String(), c.String(), n)
	}
}

// route takes the plugin's choice for record i if the topic has it.
func (w *WASM) route(i int, to int32) error {
	r := &w.run
	index := r.topic.index(to)
	if index < 0 {
		return fmt.Errorf("%w: it chose %d, topic %q has %d", klamm.ErrInvalidPartition, to, r.topic.Name, len(r.topic.Partitions))
	}
	r.out[i] = to
	if w.loads {
		r.load[index] += uint32(recordSize(r.recs[i]))
	}
	return nil
}

// refuse fails record i.
func (w *WASM) refuse(i int, err error) {
	r := &w.run
	if r.errs == nil {
		r.errs = make([]error, len(r.recs))
	}
	r.errs[i] = &klamm.PluginError{Plugin: w.name, Hook: abi.Partition.String(), Err: err}
	r.out[i] = NotPartitioned
}

// Stats returns the counts so far. Call it where PartitionBatch is called.
func (w *WASM) Stats() WASMStats { return w.stats }

// Close closes the seat. It may be called twice.
func (w *WASM) Close(ctx context.Context) error { return w.seat.Close(ctx) }

type noMetrics struct{}

func (noMetrics) Call(string, string, int, time.Duration) {}
func (noMetrics) Verdict(string, string, string, int)     {}
func (noMetrics) Fault(plugin, hook, kind string)         {}
