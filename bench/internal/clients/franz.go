package clients

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm/bench/internal/drive"
	"github.com/klamm-io/klamm/bench/internal/records"
)

type franzClient struct {
	client *kgo.Client
	topic  string
	pooled bool
	pool   sync.Pool
	dedup  *nativeDedup // nil: none
}

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func openFranz(cfg drive.Config) (drive.Client, error) {
	codec, ok := franzCodecs[cfg.Codec]
	if !ok {
		return nil, fmt.Errorf("unknown codec %q", cfg.Codec)
	}
	opts := []kgo.Opt{kgo.SeedBrokers(cfg.Brokers...), kgo.ProducerBatchCompression(codec)}
	c := &franzClient{topic: cfg.Topic, pooled: cfg.Client == "franz-go-tuned"}
	c.pool.New = func() any { return new(kgo.Record) }
	if c.pooled {
		opts = append(opts, kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(250_000))
	}
	if cfg.Plugins == "native" {
		c.dedup = newNativeDedup(window)
		opts = append(opts, kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
			return func(r *kgo.Record, n int) int { return int(records.Partition(r.Key, n)) }
		})))
	}
	var err error
	c.client, err = kgo.NewClient(opts...)
	return c, err
}

func (c *franzClient) record() *kgo.Record {
	if c.pooled {
		return c.pool.Get().(*kgo.Record)
	}
	return new(kgo.Record)
}

func (c *franzClient) Send(set *records.Set, from, to int, acks *drive.Acks) error {
	ctx := context.Background()
	done := func(r *kgo.Record, err error) {
		if err != nil {
			acks.Fail(err)
		}
		if c.pooled {
			*r = kgo.Record{}
			c.pool.Put(r)
		}
		acks.Done(1)
	}
	for n := from; n < to; n++ {
		key := set.Key(n)
		if c.dedup != nil && !c.dedup.claim(key) {
			if acks.Timed {
				acks.DoneAt(n)
			} else {
				acks.Done(1)
			}
			continue
		}
		r := c.record()
		r.Topic, r.Key, r.Value = c.topic, key, set.Value(n)
		if acks.Timed {
			done = func(_ *kgo.Record, err error) {
				if err != nil {
					acks.Fail(err)
				}
				acks.DoneAt(n)
			}
		}
		c.client.Produce(ctx, r, done)
	}
	return nil
}

func (c *franzClient) Flush() error { return c.client.Flush(context.Background()) }

func (c *franzClient) Close() error { c.client.Close(); return nil }

// nativeDedup is what people write in Go without a plugin: a map of ids and a
// ring of them, so that the oldest leaves when the window is full. An id counts
// as seen as soon as it is handed over, whatever becomes of its record.
type nativeDedup struct {
	seen map[[records.KeyLen]byte]struct{}
	ring [][records.KeyLen]byte
	at   int
}

func newNativeDedup(n int) *nativeDedup {
	return &nativeDedup{seen: make(map[[records.KeyLen]byte]struct{}, n), ring: make([][records.KeyLen]byte, 0, n)}
}

func (d *nativeDedup) claim(key []byte) bool {
	id := [records.KeyLen]byte(key)
	if _, ok := d.seen[id]; ok {
		return false
	}
	if len(d.ring) < cap(d.ring) {
		d.ring = append(d.ring, id)
	} else {
		delete(d.seen, d.ring[d.at])
		d.ring[d.at] = id
		d.at = (d.at + 1) % len(d.ring)
	}
	d.seen[id] = struct{}{}
	return true
}
