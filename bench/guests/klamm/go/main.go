// Command go is the benchmark's plugin on Klamm's Go SDK. The key "op" of its
// configuration says what it does to records.
package main

import (
	"errors"

	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/sdk/plugin"
)

var (
	op  = plugin.String("op", "").Required()
	out []byte
)

func init() { plugin.OnInit(start) }

func start(*plugin.Init) error {
	switch ops.Op(op.Get()) {
	case ops.Pass:
		plugin.OnSend(pass, plugin.Key|plugin.Value)
	case ops.Route:
		plugin.OnSend(route, plugin.Key)
	case ops.Dedup:
		plugin.OnSend(dedup, plugin.Key)
	case ops.Rewrite:
		plugin.OnSend(rewrite, plugin.Value)
	case ops.Mask:
		plugin.OnSend(mask, plugin.Value)
	default:
		return errors.New("unknown op " + op.Get())
	}
	return nil
}

func pass(*plugin.Batch) error { return nil }

// route hashes as the SDK offers it: all keys at once. It is ops.Partition.
func route(b *plugin.Batch) error {
	for i, hash := range b.KeyHashes() {
		b.At(i).Route(hash % ops.Partitions)
	}
	return nil
}

func dedup(b *plugin.Batch) error {
	fresh := b.ClaimKeys(10 * plugin.Minute)
	for i := range b.Len() {
		if !fresh.Has(i) {
			b.At(i).Drop(plugin.Duplicate)
		}
	}
	return nil
}

func rewrite(b *plugin.Batch) error {
	for i := range b.Len() {
		r := b.At(i)
		out = ops.AppendRewritten(out[:0], r.Value())
		r.SetValue(out)
	}
	return nil
}

func mask(b *plugin.Batch) error {
	for i := range b.Len() {
		r := b.At(i)
		masked, ok := ops.AppendMasked(out[:0], r.Value())
		if out = masked; ok {
			r.SetValue(out)
		}
	}
	return nil
}

func main() {}
