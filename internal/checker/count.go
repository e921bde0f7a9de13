package checker

import (
	"context"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm"
)

// Count counts the committed records of partitions, each from an offset to before
// another one, or to the end where ends has none for it. What is there counts:
// offsets may have gaps.
func (k *Kafka) Count(ctx context.Context, starts, ends map[int32]int64) (map[int32]int64, error) {
	counts := map[int32]int64{}
	for p := range starts {
		counts[p] = 0
	}
	err := k.scan(ctx, starts, ends, func(r *kgo.Record) error {
		counts[r.Partition]++
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count the records of topic %q: %w", k.Topic, err)
	}
	return counts, nil
}

// Scan calls each with the records that Count counts, in the order of each
// partition. What it is given is its own until it returns.
func (k *Kafka) Scan(ctx context.Context, starts, ends map[int32]int64, each func(partition int32, key, value []byte, headers []klamm.Header)) error {
	var headers []klamm.Header
	err := k.scan(ctx, starts, ends, func(r *kgo.Record) error {
		headers = headers[:0]
		for _, h := range r.Headers {
			headers = append(headers, klamm.Header{Key: h.Key, Value: h.Value})
		}
		each(r.Partition, r.Key, r.Value, headers)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the records of topic %q: %w", k.Topic, err)
	}
	return nil
}

func (k *Kafka) scan(ctx context.Context, starts, ends map[int32]int64, each func(*kgo.Record) error) error {
	asking, err := k.client()
	if err != nil {
		return err
	}
	defer asking.Close()
	adm := kadm.NewClient(asking)
	first, err := k.starts(ctx, adm)
	if err != nil {
		return err
	}
	now, err := k.ends(ctx, adm, Committed)
	if err != nil {
		return err
	}
	at, to := maps.Clone(starts), map[int32]int64{}
	for p, start := range starts {
		at[p] = max(start, first[p]) // retention may have taken some
		to[p] = now[p]
		if end, ok := ends[p]; ok {
			to[p] = min(end, now[p])
		}
	}
	return k.readTo(ctx, Committed, at, to, each)
}
