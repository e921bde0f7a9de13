package checker

import (
	"context"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Count counts the committed records of partitions, each from an offset to before
// another one, or to the end where ends has none for it. What is there counts:
// offsets may have gaps.
func (k *Kafka) Count(ctx context.Context, starts, ends map[int32]int64) (map[int32]int64, error) {
	counts, err := k.count(ctx, starts, ends)
	if err != nil {
		return nil, fmt.Errorf("count the records of topic %q: %w", k.Topic, err)
	}
	return counts, nil
}

func (k *Kafka) count(ctx context.Context, starts, ends map[int32]int64) (map[int32]int64, error) {
	asking, err := k.client()
	if err != nil {
		return nil, err
	}
	defer asking.Close()
	adm := kadm.NewClient(asking)
	first, err := k.starts(ctx, adm)
	if err != nil {
		return nil, err
	}
	now, err := k.ends(ctx, adm, Committed)
	if err != nil {
		return nil, err
	}
	at, to, counts := maps.Clone(starts), map[int32]int64{}, map[int32]int64{}
	for p, start := range starts {
		counts[p] = 0
		at[p] = max(start, first[p]) // retention may have taken some
		to[p] = now[p]
		if end, ok := ends[p]; ok {
			to[p] = min(end, now[p])
		}
	}
	return counts, k.readTo(ctx, Committed, at, to, func(r *kgo.Record) error {
		counts[r.Partition]++
		return nil
	})
}
