// Package partitioner chooses the partition of a record that demands none.
//
// An explicit partition (the caller's, or a plugin's ROUTE) goes before any
// partitioner: the host asks one only for records without. The choice is made
// from the facts in Topic, so that no partitioner waits for metadata.
package partitioner

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/klamm-io/klamm"
)

// Topic is what is known about a record's topic when it is partitioned. It is
// read only, and valid during the call.
type Topic struct {
	Name string
	// Partitions holds the ids of all partitions, also of those without a
	// leader. Index and id are equal in every topic that Kafka makes.
	Partitions []int32
	// Available tells for each index whether the partition has a leader that
	// takes records. Nil: all have.
	Available []bool
	// Load is the bytes queued for each index, with what the running batch has
	// already routed there. Nil: not known.
	Load []uint32
	// Epoch rises with each change of the topic's partitions or leaders.
	Epoch uint32
}

// Partitioner chooses a partition. An error fails the record, and so does a
// partition that the topic does not have (Kafka's IllegalArgumentException).
//
// It is called exactly once per record (KAFKA-9965: Java's onNewBatch called
// it twice, which starved every other partition of a round robin), by one
// goroutine at a time unless the implementation says otherwise.
type Partitioner interface {
	Partition(rec *klamm.Record, t *Topic) (int32, error)
}

// Batched is implemented by partitioners that judge many records of one topic
// at once. It sets out[i] to the partition of recs[i], to UseDefault where the
// default partitioner decides, or to NotPartitioned where the record fails;
// then the returned error is a *BatchError that knows why. refs are the
// records' references, as plugins see them.
type Batched interface {
	PartitionBatch(recs []*klamm.Record, refs []uint64, t *Topic, out []int32) error
}

// What a Batched partitioner may answer besides a partition.
const (
	UseDefault     int32 = -1
	NotPartitioned int32 = -2
)

// Accounter is implemented by partitioners that want to know what was appended
// to a partition. It is called after each append, also after those of records
// with a key. bytes is the record's size as it counts towards batch_size;
// newBatch says that the record opened a new batch.
type Accounter interface {
	Appended(topic string, partition int32, bytes int, newBatch bool)
}

// Names are the partitioners that ByName knows.
var Names = []string{"default", "round_robin", "manual", "crc32", "fnv1a", "least_backup"}

// ByName returns a new partitioner by its name in the configuration. cfg is the
// default partitioner's.
func ByName(name string, cfg DefaultConfig) (Partitioner, bool) {
	switch name {
	case "", "default":
		return Default(cfg), true
	case "round_robin":
		return RoundRobin(), true
	case "manual":
		return Manual(), true
	case "crc32":
		return CRC32(), true
	case "fnv1a":
		return FNV1a(), true
	case "least_backup":
		return LeastBackup(cfg), true
	}
	return nil, false
}

func random() uint32 { return rand.Uint32() }

func (t *Topic) check() error {
	if len(t.Partitions) == 0 {
		return fmt.Errorf("topic %q: %w: it has no partitions", t.Name, klamm.ErrInvalidPartition)
	}
	return nil
}

// available reports whether the partition of index i takes records. A topic of
// which no partition is available is treated as if all were, as in Java: the
// records wait.
func (t *Topic) available(i int) bool {
	return t.Available == nil || i < len(t.Available) && t.Available[i]
}

// choices returns how many partitions a record without a key may go to.
func (t *Topic) choices() (n int, all bool) {
	for i := range t.Partitions {
		if t.available(i) {
			n++
		}
	}
	if n == 0 || n == len(t.Partitions) {
		return len(t.Partitions), true
	}
	return n, false
}

// choice returns the index of the k-th of them.
func (t *Topic) choice(k int, all bool) int {
	if all {
		return k
	}
	for i := range t.Partitions {
		if t.available(i) {
			if k == 0 {
				return i
			}
			k--
		}
	}
	panic("partitioner: choice out of range")
}

// any returns the partition that the random number r picks.
func (t *Topic) any(r uint32) int32 {
	n, all := t.choices()
	return t.Partitions[t.choice(int(r%uint32(n)), all)]
}

// usable reports whether a record without a key may go to partition id.
func (t *Topic) usable(id int32) bool {
	i := t.index(id)
	if i < 0 {
		return false
	}
	if t.available(i) {
		return true
	}
	_, all := t.choices()
	return all
}

// index returns the index of a partition id, -1 if the topic has none such.
func (t *Topic) index(id int32) int {
	if i := int(id); i >= 0 && i < len(t.Partitions) && t.Partitions[i] == id {
		return i
	}
	for i, p := range t.Partitions {
		if p == id {
			return i
		}
	}
	return -1
}

// load returns the bytes queued for the partition of index i.
func (t *Topic) load(i int) uint32 {
	if i < len(t.Load) {
		return t.Load[i]
	}
	return 0
}

// Manual returns a partitioner that takes only records that demand a partition.
// Safe for concurrent use.
func Manual() Partitioner { return manual{} }

type manual struct{}

func (manual) Partition(rec *klamm.Record, t *Topic) (int32, error) {
	p, ok := rec.Target.Partition()
	if !ok {
		return klamm.NoPartition, fmt.Errorf("topic %q: %w: none demanded, and the partitioner is manual", t.Name, klamm.ErrInvalidPartition)
	}
	if t.index(p) < 0 {
		return klamm.NoPartition, fmt.Errorf("topic %q: %w: %d of %d", t.Name, klamm.ErrInvalidPartition, p, len(t.Partitions))
	}
	return p, nil
}

// byTopic is a map by topic name that finds the topic of the call before
// without hashing.
type byTopic[T any] struct {
	name string
	last *T
	all  map[string]*T
}

func (b *byTopic[T]) of(topic string) *T {
	if b.last != nil && b.name == topic {
		return b.last
	}
	s := b.all[topic]
	if s == nil {
		if b.all == nil {
			b.all = make(map[string]*T)
		}
		s = new(T)
		topic = strings.Clone(topic)
		b.all[topic] = s
	}
	b.name, b.last = topic, s
	return s
}
