package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// callLimit is generous: a test machine may be busy, and no case is about time.
const callLimit = 10 * time.Second

// Run runs all cases with the module as subtests.
func Run(t *testing.T, wasm []byte) {
	t.Helper()
	l, err := openGuest(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	cases := Cases()
	for i := range cases {
		t.Run(cases[i].Name, func(t *testing.T) {
			for _, p := range cases[i].problems(t.Context(), l, waysOf(&cases[i])) {
				t.Error(p)
			}
		})
	}
}

// problems runs the case in those ways.
func (c *Case) problems(ctx context.Context, l *loader, ways []way) (problems []string) {
	for _, w := range ways {
		for _, p := range w.problems(ctx, l) {
			problems = append(problems, w.name+": "+p)
		}
	}
	return problems
}

// open starts an engine for the module.
func open(ctx context.Context, wasm []byte) (*loader, error) {
	engine, err := runtime.NewEngine(ctx, runtime.EngineConfig{})
	if err != nil {
		return nil, err
	}
	l := &loader{engine: engine, wasm: wasm, plugins: map[loaded]*runtime.Plugin{}}
	l.module, err = engine.Compile(ctx, pluginName, wasm)
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// openGuest is open for a guest of the kit.
func openGuest(ctx context.Context, wasm []byte) (*loader, error) {
	l, err := open(ctx, wasm)
	if err != nil {
		return nil, err
	}
	if missing := abi.HookMask(1<<abi.HookCount-1) &^ l.module.Hooks(); missing != 0 {
		l.close()
		return nil, fmt.Errorf("the guest must export all five hooks; it lacks those of mask %#x", uint16(missing))
	}
	return l, nil
}

// loader keeps what was loaded: each run gets an instance of its own all the
// same.
type loader struct {
	engine  *runtime.Engine
	wasm    []byte
	module  *runtime.Module // held, so that the compiled code of all plugins is one
	plugins map[loaded]*runtime.Plugin
}

type loaded struct {
	config    string
	outputMax int
	stretched bool
}

func (l *loader) load(ctx context.Context, w way) (*runtime.Plugin, error) {
	key := loaded{w.c.Config, w.c.OutputMax, w.stretched}
	if p := l.plugins[key]; p != nil {
		return p, nil
	}
	cfg := runtime.PluginConfig{
		Name:      pluginName,
		ClientID:  clientID,
		Timeout:   callLimit,
		OutputMax: w.c.OutputMax,
		Grants:    runtime.GrantAll,
		Secrets:   map[string][]byte{secretName: []byte(secret)},
		Stretched: w.stretched,
	}
	if w.c.Config != "" {
		cfg.Config = []byte(w.c.Config)
	}
	p := l.engine.NewPlugin(cfg)
	if err := p.Load(ctx, l.wasm); err != nil {
		_ = p.Close(ctx) // nothing was loaded
		return nil, err
	}
	l.plugins[key] = p
	return p, nil
}

func (l *loader) close() {
	for _, p := range l.plugins {
		_ = p.Close(context.Background()) // reports nothing that a case is about
	}
	if l.module != nil {
		_ = l.module.Close(context.Background())
	}
	_ = l.engine.Close(context.Background())
}

// way is a way of running a case. None must make a difference.
type way struct {
	c         *Case
	name      string
	batch     int // records of the case in a batch
	pad       int // records that a batch is filled up to
	stretched bool
}

func waysOf(c *Case) (ways []way) {
	n := len(c.Records)
	ways = []way{
		{c, "as it is", n, n, false},
		{c, "stretched", n, n, true},
	}
	if c.Whole {
		return ways
	}
	ways = append(ways, way{c, "one by one", 1, 1, false})
	if c.judges() {
		ways = append(ways, way{c, "batch of 64", n, 64, false}, way{c, "stretched batch of 512", n, 512, true})
	}
	return ways
}

func (c *Case) judges() bool { return c.Hook != abi.OnAcknowledgement && c.Hook != abi.OnCommit }

// problems runs the case and compares.
func (w way) problems(ctx context.Context, l *loader) (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	c := w.c
	r, err := w.play(ctx, l)
	switch {
	case c.Refused != "":
		if err == nil || !strings.Contains(err.Error(), c.Refused) {
			bad("loading ends with %v, want an error with %q", err, c.Refused)
		}
		return problems
	case c.Fault[0] != "":
		if runtime.FaultKind(err) != c.Fault[0] || !strings.Contains(err.Error(), c.Fault[1]) {
			bad("the call ends with %v, want a %s with %q", err, c.Fault[0], c.Fault[1])
		}
		return problems
	case err != nil:
		bad("%v", err)
		return problems
	}
	for i, want := range c.Want {
		if i < len(r.verdicts) && r.verdicts[i] != want {
			bad("record %d:\n  got  %s\n  want %s", i, r.verdicts[i], want)
		}
	}
	if len(r.verdicts) != len(c.Want) {
		bad("%d verdicts, want %d", len(r.verdicts), len(c.Want))
	}
	if got := r.h.now.list(); c.Effects != nil && !slices.Equal(got, c.Effects) {
		bad("effects:\n  got  %q\n  want %q", got, c.Effects)
	}
	if c.Rewinds && r.h.rewinds == 0 {
		bad("the modification area never had to grow")
	}
	if c.Parts && r.calls <= r.batches {
		bad("%d calls for %d batches: no call was partial", r.calls, r.batches)
	}
	return problems
}

// run is one run of a case.
type run struct {
	w        way
	h        *host
	seat     *runtime.Seat
	fields   abi.Fields
	block    runtime.Block
	verdicts []string
	calls    int
	batches  int
}

func (w way) play(ctx context.Context, l *loader) (r *run, err error) {
	r = &run{w: w, h: newHost()}
	r.block.Stretched = w.stretched
	p, err := l.load(ctx, w)
	if err != nil {
		return r, err
	}
	r.seat, err = p.Seat(ctx, runtime.SeatConfig{Chain: chainName, Topics: []string{"orders", "qu*"}, Lane: 1, Lanes: 3, Host: r.h})
	if err != nil {
		return r, err
	}
	defer func() {
		if e := r.seat.Close(ctx); err == nil {
			err = e
		}
	}()
	r.fields = r.seat.Generation().Fields(w.c.Hook)
	records := w.c.Records
	for first := 0; first < len(records); first += w.batch {
		r.batches++
		if err := r.feed(ctx, first, min(first+w.batch, len(records))); err != nil {
			return r, err
		}
	}
	return r, nil
}

// feed judges records[first:last], which are one batch, with padding behind them.
// What a call leaves over comes again in the next.
func (r *run) feed(ctx context.Context, first, last int) error {
	pad := max(0, r.w.pad-(last-first))
	for first < last || pad > 0 {
		r.fill(first, last, pad)
		r.calls++
		if !r.w.c.judges() {
			return r.seat.Notify(ctx, r.w.c.Hook, &r.block)
		}
		v, err := r.seat.Judge(ctx, r.w.c.Hook, &r.block)
		if err != nil {
			return err
		}
		if v.Len() == 0 {
			return fmt.Errorf("no record of %d was judged", r.block.Len())
		}
		for i := range v.Len() {
			switch {
			case first < last:
				r.verdicts = append(r.verdicts, describe(v.At(i), v.Generation().Reason))
				first++
			case v.At(i).Code != abi.Pass:
				return fmt.Errorf("a record that says nothing got %s", describe(v.At(i), v.Generation().Reason))
			default:
				pad--
			}
		}
	}
	return nil
}

// fill builds the block of records[first:last] and so many of padding.
func (r *run) fill(first, last, pad int) {
	records := r.w.c.Records
	r.h.begin(records[first:last])
	r.block.Reset(r.fields, nowMS, !r.w.c.judges())
	for i := first; i < last+pad; i++ {
		rec := Record{Partition: -1}
		if i < last {
			rec = records[i]
		}
		r.add(i, &rec)
	}
}

func (r *run) add(i int, rec *Record) {
	f := facts[rec.topic()]
	partition, offset := place(r.w.c.Hook, rec)
	var flags uint32
	if rec.Transactional {
		flags = abi.FlagTransactional
	}
	r.block.Add(runtime.Head{
		Topic:       r.block.AddTopic(rec.topic(), f.partitions, f.epoch, f.available, f.load),
		Partition:   partition,
		Offset:      offset,
		TimestampMS: rec.Timestamp,
		Key:         rec.Key,
		Value:       rec.Value,
		Ref:         refOf(i),
		Flags:       flags,
		Headers:     len(rec.Headers),
	})
	for _, h := range rec.Headers {
		r.block.AddHeader(h.Key, h.Value)
	}
	if !r.w.c.judges() {
		a := rec.Ack
		r.block.SetAck(a.Error, a.Flags, uint32(a.Latency.Microseconds()), a.Reason, a.Plugin)
	}
}
