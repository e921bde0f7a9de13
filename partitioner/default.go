package partitioner

import (
	"fmt"

	"github.com/klamm-io/klamm"
)

// DefaultConfig is the configuration of the default partitioner. Its zero value
// is usable.
type DefaultConfig struct {
	// BatchSize is how many bytes records without a key stay on one partition.
	// The default is 16384, Kafka's batch.size.
	BatchSize int
	// IgnoreKeys treats records with a key like those without
	// (partitioner.ignore.keys).
	IgnoreKeys bool
	// Adaptive picks partitions with short queues more often
	// (partitioner.adaptive.partitioning.enable). It needs Topic.Load.
	Adaptive bool
	// Rand gives random numbers. The default is math/rand/v2's.
	Rand func() uint32
}

// DefaultBatchSize is BatchSize where none is given.
const DefaultBatchSize = 16384

// Validate reports what Default would not take.
func (c DefaultConfig) Validate() error {
	if c.BatchSize < 0 {
		return fmt.Errorf("partitioner: batch size %d: it must be positive", c.BatchSize)
	}
	return nil
}

// DefaultPartitioner is Kafka's built-in partitioner (KIP-794). A record with a
// key goes to murmur2 of the key, modulo the number of all partitions: also to
// one without a leader, where it waits. Records without a key stay on one
// available partition until BatchSize bytes went there and its batch is
// complete, at most for twice as many, and go on to another then.
//
// It is safe for concurrent use.
type DefaultPartitioner struct {
	ignoreKeys bool
	sticky     *sticky
}

var (
	_ Partitioner = (*DefaultPartitioner)(nil)
	_ Accounter   = (*DefaultPartitioner)(nil)
)

// Default returns the default partitioner. It panics on a configuration that
// Validate refuses.
func Default(cfg DefaultConfig) *DefaultPartitioner {
	pick := anyOf
	if cfg.Adaptive {
		pick = shortQueue
	}
	return &DefaultPartitioner{ignoreKeys: cfg.IgnoreKeys, sticky: cfg.sticky(pick)}
}

func (c DefaultConfig) sticky(pick picker) *sticky {
	if c.BatchSize == 0 {
		c.BatchSize = DefaultBatchSize
	}
	if c.Rand == nil {
		c.Rand = random
	}
	s, err := newSticky(c.BatchSize, pick, c.Rand)
	if err != nil {
		panic(err)
	}
	return s
}

// Partition chooses the partition of rec.
func (p *DefaultPartitioner) Partition(rec *klamm.Record, t *Topic) (int32, error) {
	if err := t.check(); err != nil {
		return klamm.NoPartition, err
	}
	if rec.Key != nil && !p.ignoreKeys {
		return t.Partitions[KeyPartition(rec.Key, len(t.Partitions))], nil
	}
	return p.sticky.partition(rec, t), nil
}

// Appended tells what was appended, so that records without a key move on.
func (p *DefaultPartitioner) Appended(topic string, partition int32, bytes int, newBatch bool) {
	p.sticky.appended(topic, partition, bytes, newBatch)
}

// LeastBackup returns a partitioner that keeps records together like the
// default one, whatever their key, but goes on to the available partition with
// the shortest queue, ties broken at random. Of cfg it uses BatchSize and Rand.
// Safe for concurrent use.
func LeastBackup(cfg DefaultConfig) Partitioner { return leastBackup{cfg.sticky(shortestQueue)} }

type leastBackup struct{ sticky *sticky }

var _ Accounter = leastBackup{}

func (p leastBackup) Partition(rec *klamm.Record, t *Topic) (int32, error) {
	if err := t.check(); err != nil {
		return klamm.NoPartition, err
	}
	return p.sticky.partition(rec, t), nil
}

func (p leastBackup) Appended(topic string, partition int32, bytes int, newBatch bool) {
	p.sticky.appended(topic, partition, bytes, newBatch)
}
