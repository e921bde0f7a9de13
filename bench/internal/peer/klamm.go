package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klamm-io/klamm/bench/internal/guests"
	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/bench/internal/workload"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// callTimeout is the deadline of all who have one: far away, so that a busy
// machine does not fault a call. How far costs nothing.
const callTimeout = 30 * time.Second

const memoryMax = 64 << 20

// klammEngine is the product's engine as the product starts it.
type klammEngine struct{ e *runtime.Engine }

// newKlammEngine starts an engine; under the context of package unmetered it is
// one whose plugins count no fuel.
func newKlammEngine(ctx context.Context, cacheDir string) (*klammEngine, error) {
	e, err := runtime.NewEngine(ctx, runtime.EngineConfig{CacheDir: cacheDir})
	if err != nil {
		return nil, err
	}
	return &klammEngine{e}, nil
}

func (k *klammEngine) close(ctx context.Context) error { return k.e.Close(ctx) }

type klammJudge struct {
	plugin *runtime.Plugin
	seat   *runtime.Seat
	hook   abi.Hook
	fields abi.Fields
	block  runtime.Block
	ref    uint64
	values arena
}

func (k *klammEngine) open(ctx context.Context, g guests.Guest) (Judge, error) {
	p := k.e.NewPlugin(runtime.PluginConfig{
		Name: "bench", Config: []byte(g.Config), MemoryMax: memoryMax, Timeout: callTimeout,
		OutputMax: 16 << 20, Grants: runtime.GrantAll,
	})
	if err := p.Load(ctx, g.Wasm); err != nil {
		return nil, errors.Join(err, p.Close(ctx))
	}
	seat, err := p.Seat(ctx, runtime.SeatConfig{Lanes: 1, Topics: []string{topic}, Host: claimHost{workload.NewClaims()}})
	if err != nil {
		return nil, errors.Join(err, p.Close(ctx))
	}
	return &klammJudge{plugin: p, seat: seat, hook: g.Hook, fields: seat.Generation().Fields(g.Hook)}, nil
}

// Judge does what a chain of the host does: it fills a block as far as it goes,
// has it judged, and takes the verdicts.
func (k *klammJudge) Judge(records []workload.Record, out []ops.Result) error {
	k.values.reset()
	for len(records) > 0 {
		n := k.fill(records)
		v, err := k.seat.Judge(context.Background(), k.hook, &k.block)
		if err != nil {
			return err
		}
		if v.Len() == 0 || v.Len() > n {
			return fmt.Errorf("%d verdicts for %d records", v.Len(), n)
		}
		last := v.Len() == len(records)
		for i, w := range v.Words() {
			out[i] = ops.Result{}
			switch w.Code() {
			case abi.Pass:
			case abi.Drop:
				out[i].Code = ops.Dropped
			case abi.Route:
				out[i].Code, out[i].Partition = ops.Routed, int32(w.Arg())
			default:
				if err := k.take(&out[i], v.At(i), last); err != nil {
					return err
				}
			}
		}
		records, out = records[v.Len():], out[v.Len():]
	}
	return nil
}

// fill puts as many records as go into one block and returns their number.
func (k *klammJudge) fill(records []workload.Record) int {
	b := &k.block
	b.Reset(k.fields, 1, false)
	head := runtime.Head{Topic: b.AddTopic(topic, ops.Partitions, 1, nil, nil), Partition: -1, Offset: -1, TimestampMS: 1}
	for i := range records {
		r := &records[i]
		need := 0
		if k.fields&abi.FieldKey != 0 {
			need += len(r.Key)
		}
		if k.fields&abi.FieldValue != 0 {
			need += len(r.Value)
		}
		if i > 0 && !b.Fits(need) {
			return i
		}
		k.ref++
		head.Key, head.Value, head.Ref = r.Key, r.Value, k.ref
		b.Append(&head)
	}
	return len(records)
}

// take turns a verdict with a value into a result. Values of the last block stay where they
// are; those of others would be overwritten by the next.
func (k *klammJudge) take(out *ops.Result, v runtime.Verdict, last bool) error {
	switch v.Code {
	case abi.ValueInPlace:
		out.Code, out.Value = ops.Replaced, v.Value
	case abi.Edit:
		if len(v.Edits) != 1 || v.Edits[0].Op != abi.OpSetValue {
			return fmt.Errorf("%d edits, want one of the value", len(v.Edits))
		}
		out.Code, out.Value = ops.Replaced, v.Edits[0].Value
	default:
		return fmt.Errorf("verdict %s: %s", v.Code, v.Text)
	}
	if out.Value != nil && !last {
		out.Value = k.values.copy(out.Value)
	}
	return nil
}

func (k *klammJudge) Close() error { return k.plugin.Close(context.Background()) }

// claimHost is a host that knows claims only.
type claimHost struct{ claims *workload.Claims }

func (h claimHost) Claim(_ int, id []byte, _ int64) int32 {
	if h.claims.Claim(id) {
		return abi.ClaimNew
	}
	return abi.ClaimConfirmed
}

func (claimHost) Log(int32, []byte)                         {}
func (claimHost) DefineMetric(int32, string) (int32, error) { return 0, nil }
func (claimHost) AddMetric(int32, int64)                    {}
func (claimHost) ObserveMetric(int32, float64)              {}
func (claimHost) StateGet([]byte) ([]byte, bool)            { return nil, false }
func (claimHost) StatePut(_, _ []byte, _ int64) error       { return nil }
func (claimHost) Value(int) []byte                          { return nil }
func (claimHost) Headers(int, func(string, []byte))         {}
