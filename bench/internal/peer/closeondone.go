package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klamm-io/klamm/bench/internal/guests"
	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/bench/internal/workload"
	"github.com/klamm-io/klamm/runtime/guard"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

var le = binary.LittleEndian

// closeOnDone runs Klamm's guests and Klamm's ABI on a plain host: blocks are
// laid out in guest memory, calls allocate nothing of their own, and what stops a
// guest is wazero's WithCloseOnContextDone with a deadline for each call. It
// checks answers less than Klamm does.
type closeOnDone struct {
	runtime wazero.Runtime
	mod     api.Module
	hook    api.Function
	fields  abi.Fields
	claims  *workload.Claims
	values  arena
	stack   [2]uint64
	ref     uint64

	ptr, size uint32 // the block
	running   []workload.Record
}

func openCloseOnDone(ctx context.Context, cache wazero.CompilationCache, g guests.Guest) (Judge, error) {
	config := wazero.NewRuntimeConfig().WithCloseOnContextDone(true).WithCompilationCache(cache).WithMemoryLimitPages(memoryMax >> 16)
	c := &closeOnDone{runtime: wazero.NewRuntimeWithConfig(ctx, config), claims: workload.NewClaims()}
	if err := c.load(ctx, g); err != nil {
		return nil, errors.Join(fmt.Errorf("close-on-done: %w", err), c.Close())
	}
	return c, nil
}

func (c *closeOnDone) load(ctx context.Context, g guests.Guest) error {
	b := c.runtime.NewHostModuleBuilder(abi.ImportModule)
	for name, t := range guard.HostFunctions[abi.ImportModule] {
		f := api.GoModuleFunc(func(_ context.Context, _ api.Module, stack []uint64) { clear(stack) })
		switch name {
		case abi.ImportClaim:
			f = c.claim
		case abi.ImportClaimBatch:
			f = c.claimBatch
		}
		b.NewFunctionBuilder().WithGoModuleFunction(f, []byte(t.Params), []byte(t.Results)).Export(name)
	}
	if _, err := b.Instantiate(ctx); err != nil {
		return err
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, c.runtime); err != nil {
		return err
	}
	var err error
	c.mod, err = c.runtime.InstantiateWithConfig(ctx, g.Wasm, withGuestEnv(wazero.NewModuleConfig()).WithStartFunctions("_initialize"))
	if err != nil {
		return err
	}
	return c.initialise(ctx, g)
}

func (c *closeOnDone) initialise(ctx context.Context, g guests.Guest) error {
	if err := c.ensure(ctx, 2*abi.BlockMax); err != nil {
		return err
	}
	head := make([]byte, abi.InitHeaderSize)
	le.PutUint32(head[abi.InitLanes:], 1)
	for _, pair := range []int{abi.InitConfig, abi.InitPlugin, abi.InitChain, abi.InitClientID, abi.InitTopics} {
		le.PutUint32(head[pair:], abi.InitHeaderSize)
	}
	le.PutUint32(head[abi.InitConfig+4:], uint32(len(g.Config)))
	copy(c.block(), append(head, g.Config...))
	res, err := c.mod.ExportedFunction(abi.ExportInit).Call(ctx, uint64(c.ptr), uint64(len(head)+len(g.Config)))
	if err != nil {
		return err
	}
	answer := abi.InitResult(res[0])
	c.hook, c.fields = c.mod.ExportedFunction(g.Hook.Export()), answer.Fields(g.Hook)
	if answer.Err() != 0 || !answer.Hooks().Has(g.Hook) || c.hook == nil {
		return fmt.Errorf("klamm_init answered %016x", res[0])
	}
	return nil
}

// ensure makes the block hold size bytes.
func (c *closeOnDone) ensure(ctx context.Context, size uint32) error {
	if size <= c.size {
		return nil
	}
	res, err := c.mod.ExportedFunction(abi.ExportAlloc).Call(ctx, uint64(size))
	if err != nil {
		return err
	}
	c.ptr, c.size = uint32(res[0]), size
	if c.ptr == 0 || c.block() == nil {
		return fmt.Errorf("klamm_alloc(%d) = %d", size, c.ptr)
	}
	return nil
}

func (c *closeOnDone) block() []byte {
	b, _ := c.mod.Memory().Read(c.ptr, c.size)
	return b
}

func (c *closeOnDone) Judge(records []workload.Record, out []ops.Result) error {
	c.values.reset()
	for len(records) > 0 {
		n, err := c.judge(records, out)
		if err != nil {
			return fmt.Errorf("close-on-done: %w", err)
		}
		records, out = records[n:], out[n:]
	}
	return nil
}

// judge calls the guest once and returns how many records have a result.
func (c *closeOnDone) judge(records []workload.Record, out []ops.Result) (int, error) {
	n, size := c.encode(records)
	c.running = records[:n]
	c.stack = [2]uint64{uint64(c.ptr), uint64(size)}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if err := c.hook.CallWithStack(ctx, c.stack[:]); err != nil {
		return 0, err
	}
	res, b := abi.CallResult(c.stack[0]), c.block()
	if res.Err() != 0 {
		return 0, fmt.Errorf("error code %d", res.Err())
	}
	if res.Flags()&abi.CallPartial != 0 {
		n = min(n, int(le.Uint32(b[abi.BatchDone:])))
	}
	if n == 0 {
		return 0, errors.New("the modification area is too small")
	}
	return n, c.decode(b, n, out)
}

func (c *closeOnDone) decode(b []byte, n int, out []ops.Result) error {
	verdicts := le.Uint32(b[abi.BatchVerdictOff:])
	for i := range n {
		v := abi.Verdict(le.Uint64(b[verdicts+uint32(i)*abi.VerdictSize:]))
		out[i] = ops.Result{}
		switch v.Code() {
		case abi.Pass:
		case abi.Drop:
			out[i].Code = ops.Dropped
		case abi.Route:
			out[i] = ops.Result{Code: ops.Routed, Partition: int32(v.Arg())}
		case abi.Edit:
			list := b[v.Arg():]
			entry := list[abi.EditHeaderSize:]
			if le.Uint32(list) != 1 || abi.Op(le.Uint16(entry)) != abi.OpSetValue {
				return errors.New("want one edit, of the value")
			}
			value := entry[abi.EditEntrySize:][:le.Uint32(entry[abi.EditVLen:])]
			out[i] = ops.Result{Code: ops.Replaced, Value: c.values.copy(value)}
		default:
			return fmt.Errorf("verdict %s", v.Code())
		}
	}
	return nil
}

// encode lays out as many records as fill a block of BlockMax, and returns their
// number and the size of the block. The rest of the memory is for edits.
func (c *closeOnDone) encode(records []workload.Record) (n, size int) {
	b := c.block()
	verdicts := abi.BatchHeaderSize
	topicAt := verdicts + len(records)*abi.VerdictSize
	recAt := topicAt + abi.TopicEntrySize + abi.Align8(len(topic))
	clear(b[:recAt])
	at := recAt
	for i := range records {
		if i > 0 && at+abi.RecordHeaderSize+len(records[i].Key)+len(records[i].Value)+16 > abi.BlockMax {
			break
		}
		at += c.putRecord(b[at:], &records[i])
		n++
	}
	c.putHead(b, n, recAt, topicAt, at)
	return n, len(b)
}

func (c *closeOnDone) putHead(b []byte, n, recAt, topicAt, mod int) {
	le.PutUint32(b[abi.BatchMagic:], abi.MagicBatch)
	le.PutUint16(b[abi.BatchSize:], abi.BatchHeaderSize)
	le.PutUint16(b[abi.BatchRecordSize:], abi.RecordHeaderSize)
	le.PutUint32(b[abi.BatchCount:], uint32(n))
	le.PutUint32(b[abi.BatchRecOff:], uint32(recAt))
	le.PutUint32(b[abi.BatchVerdictOff:], abi.BatchHeaderSize)
	le.PutUint32(b[abi.BatchModOff:], uint32(mod))
	le.PutUint32(b[abi.BatchModCap:], uint32(len(b)-mod))
	le.PutUint32(b[abi.BatchTopicsOff:], uint32(topicAt))
	le.PutUint32(b[abi.BatchTopicsCount:], 1)
	t := b[topicAt:]
	le.PutUint32(t[abi.TopNameOff:], uint32(topicAt+abi.TopicEntrySize))
	le.PutUint32(t[abi.TopNameLen:], uint32(len(topic)))
	le.PutUint32(t[abi.TopPartitions:], ops.Partitions)
	le.PutUint32(t[abi.TopEpoch:], 1)
	copy(t[abi.TopicEntrySize:], topic)
}

func (c *closeOnDone) putRecord(b []byte, r *workload.Record) int {
	key, value := []byte(nil), []byte(nil)
	flags, keyLen := uint32(0), int32(-1)
	if c.fields&abi.FieldKey != 0 {
		key, keyLen = r.Key, int32(len(r.Key))
	}
	if c.fields&abi.FieldValue != 0 {
		value = r.Value
	} else {
		flags = abi.FlagValueOmitted
	}
	valueAt := abi.RecordHeaderSize + abi.Align8(len(key))
	size := valueAt + abi.Align8(len(value))
	c.ref++
	le.PutUint32(b[abi.RecSize:], uint32(size))
	le.PutUint32(b[abi.RecFlags:], flags)
	le.PutUint64(b[abi.RecTimestamp:], 0)
	le.PutUint64(b[abi.RecOffset:], ^uint64(0))
	le.PutUint32(b[abi.RecPartition:], ^uint32(0))
	le.PutUint32(b[abi.RecTopic:], 0)
	le.PutUint32(b[abi.RecKeyOff:], abi.RecordHeaderSize)
	le.PutUint32(b[abi.RecKeyLen:], uint32(keyLen))
	le.PutUint32(b[abi.RecValueOff:], uint32(valueAt))
	le.PutUint32(b[abi.RecValueLen:], uint32(len(r.Value)))
	le.PutUint64(b[abi.RecHeadersOff:], 0)
	le.PutUint64(b[abi.RecRef:], c.ref)
	copy(b[abi.RecordHeaderSize:], key)
	copy(b[valueAt:], value)
	return size
}

func (c *closeOnDone) claim(_ context.Context, m api.Module, stack []uint64) {
	key, _ := m.Memory().Read(uint32(stack[1]), uint32(stack[2]))
	stack[0] = uint64(abi.ClaimConfirmed)
	if c.claims.Claim(key) {
		stack[0] = uint64(abi.ClaimNew)
	}
}

func (c *closeOnDone) claimBatch(_ context.Context, m api.Module, stack []uint64) {
	mask, _ := m.Memory().Read(uint32(stack[0]), uint32(len(c.running)+7)/8)
	clear(mask)
	fresh := 0
	for i := range c.running {
		if c.claims.Claim(c.running[i].Key) {
			mask[i/8] |= 1 << (i % 8)
			fresh++
		}
	}
	stack[0] = uint64(fresh)
}

func (c *closeOnDone) Close() error { return c.runtime.Close(context.Background()) }
