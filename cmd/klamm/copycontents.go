package main

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// maxRemembered bounds what a comparison of contents keeps: a key, or a record,
// takes some 50 bytes.
const maxRemembered = 5_000_000

// compareContents compares keys, values and headers, where counts are equal. Where
// no plugin may have changed them the destination must have the source's records,
// and those of each key in their order; else it tells how many are as they were.
func (c *copyRun) compareContents(ctx context.Context, r *host.CopyReport, scan scanner) ([]string, error) {
	chain := c.s.Chain[c.chain()]
	if len(chain.OnSend)+len(chain.OnConsume) > 0 {
		return nil, c.sayUnchanged(ctx, r, scan)
	}
	in, out := newContents(), newContents()
	if err := scanCopy(ctx, r, scan, in.add, out.add); err != nil {
		return nil, err
	}
	differences, order := in.compare(out, r.From, r.To, c.byKey(&chain))
	switch {
	case len(differences) > 0:
	case in.keys == nil:
		c.a.say("contents are equal; there are too many keys to compare the order of each")
	case order.spread > 0:
		c.a.say("contents are equal, and so is the order of the records of %d keys; those of %d keys have none, as the partitioner sent them to several partitions", order.equal, order.spread)
	default:
		c.a.say("contents are equal, and so is the order of the records of %d keys", order.equal)
	}
	return differences, nil
}

// byKey reports whether what partitions the copy sends all records of a key to one
// partition.
func (c *copyRun) byKey(chain *host.ChainConfig) bool {
	switch cmp.Or(chain.Partitioner, c.s.Producer.Partitioner) {
	case "", "default":
		return !c.s.Producer.PartitionerIgnoreKeys
	case "crc32", "fnv1a":
		return true
	}
	return false
}

// scanCopy reads what was copied, and what has come of it.
func scanCopy(ctx context.Context, r *host.CopyReport, scan scanner, in, out func(partition int32, key, value []byte, headers []klamm.Header)) error {
	starts, ends := map[int32]int64{}, map[int32]int64{}
	for _, p := range r.Partitions {
		starts[p.Partition], ends[p.Partition] = p.Start, p.End
	}
	if err := scan(ctx, r.From, starts, ends, in); err != nil {
		return err
	}
	bases := map[int32]int64{}
	for _, o := range r.Outputs {
		if o.Topic == r.To && o.Partition != klamm.NoPartition {
			bases[o.Partition] = o.Start
		}
	}
	return scan(ctx, r.To, bases, nil, out)
}

// sayUnchanged tells how many records of the destination are the source's as they
// were. Whether that is as many as it should be, whoever wrote the plugins knows.
func (c *copyRun) sayUnchanged(ctx context.Context, r *host.CopyReport, scan scanner) error {
	if r.In > maxRemembered {
		c.a.say("contents are not compared: plugins may have changed them, and there are more than %s records", count(maxRemembered))
		return nil
	}
	there, same, all := map[uint64]int32{}, int64(0), int64(0)
	err := scanCopy(ctx, r, scan, func(_ int32, key, value []byte, headers []klamm.Header) {
		there[recordHash(contentSeeds[0], key, value, headers)]++
	}, func(_ int32, key, value []byte, headers []klamm.Header) {
		all++
		if h := recordHash(contentSeeds[0], key, value, headers); there[h] > 0 {
			there[h]--
			same++
		}
	})
	if err == nil {
		c.a.say("%s of the %s records in %s are in %s as they are there; plugins may have changed the others", count(same), count(all), r.To, r.From)
	}
	return err
}

// contentSeeds are two, for hashes of 128 bits.
var contentSeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// copyContents are what two topics are compared by: a sum over all records, which does
// not depend on their order, and for each key a chain, which does.
type copyContents struct {
	records int64
	sum     [2]uint64
	keys    map[uint64]keyContents // nil: too many
}

// keyContents are the records of one key so far.
type keyContents struct {
	chain     uint64
	partition int32 // of all of them; spreadKey where there are several
}

// spreadKey is the partition of a key with records in several, which have no order.
const spreadKey int32 = -1

func newContents() *copyContents { return &copyContents{keys: map[uint64]keyContents{}} }

func (c *copyContents) add(partition int32, key, value []byte, headers []klamm.Header) {
	c.records++
	record := recordHash(contentSeeds[0], key, value, headers)
	c.sum[0] += record
	c.sum[1] += recordHash(contentSeeds[1], key, value, headers)
	if key == nil || c.keys == nil {
		return
	}
	id := maphash.Bytes(contentSeeds[1], key)
	k, seen := c.keys[id]
	switch {
	case !seen && len(c.keys) == maxRemembered:
		c.keys = nil
		return
	case !seen:
		k.partition = partition
	case k.partition != partition:
		k.partition = spreadKey
	}
	k.chain = maphash.Comparable(contentSeeds[0], [2]uint64{k.chain, record})
	c.keys[id] = k
}

// copyOrder is what is known of the order of the keys whose records have one in the
// source.
type copyOrder struct {
	equal  int // keys with the same order
	spread int // keys that have none in the destination
}

// compare returns how other differs. With byKey a key's records must be in one
// partition there if they are here.
func (c *copyContents) compare(other *copyContents, from, to string, byKey bool) (differences []string, order copyOrder) {
	if c.records != other.records || c.sum != other.sum {
		return []string{fmt.Sprintf("%s: keys, values or headers are not those of %s", to, from)}, order
	}
	if c.keys == nil || other.keys == nil {
		return nil, order
	}
	wrong := 0
	for id, k := range c.keys {
		switch there := other.keys[id]; {
		case k.partition == spreadKey:
		case there.partition == spreadKey:
			order.spread++
		case there.chain == k.chain:
			order.equal++
		default:
			wrong++
		}
	}
	if wrong > 0 {
		differences = append(differences, fmt.Sprintf("%s: the records of %d keys are in another order than in %s", to, wrong, from))
	}
	if byKey && order.spread > 0 {
		differences = append(differences, fmt.Sprintf("%s: the records of %d keys are in several partitions, and in one in %s; did the topic get more partitions meanwhile?", to, order.spread, from))
	}
	return differences, order
}

// recordHash is of a key, a value and headers, each with its length; null is not
// the same as empty.
func recordHash(seed maphash.Seed, key, value []byte, headers []klamm.Header) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	part := func(b []byte, null bool) {
		n := uint64(len(b))
		if null {
			n = 1 << 63
		}
		maphash.WriteComparable(&h, n)
		h.Write(b)
	}
	part(key, key == nil)
	part(value, value == nil)
	for _, header := range headers {
		part([]byte(header.Key), false)
		part(header.Value, header.Value == nil)
	}
	return h.Sum64()
}
