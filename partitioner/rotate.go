package partitioner

import (
	"sync"

	"github.com/klamm-io/klamm"
)

// RoundRobin returns a partitioner that takes the available partitions of a
// topic in turn, whatever the key. Safe for concurrent use.
func RoundRobin() Partitioner { return new(roundRobin) }

type roundRobin struct {
	mu     sync.Mutex
	topics byTopic[int]
}

func (p *roundRobin) Partition(_ *klamm.Record, t *Topic) (int32, error) {
	if err := t.check(); err != nil {
		return klamm.NoPartition, err
	}
	n, all := t.choices()
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.topics.of(t.Name)
	k := *next % n
	*next = k + 1
	return t.Partitions[t.choice(k, all)], nil
}
