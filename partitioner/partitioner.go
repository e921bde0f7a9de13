// Package partitioner chooses the partition of a record that demands none.
//
// An explicit partition (the caller's, or a plugin's ROUTE) goes before any
// partitioner: the host asks one only for records without. The choice is made
// from the facts in Topic, so that no partitioner waits for metadata.
package partitioner

import "github.com/klamm-io/klamm"

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
// default partitioner decides, or to NotPartitioned where the record fails; then the
// returned error is a *BatchError that knows why. refs are the records'
// references, as plugins see them.
type Batched interface {
	PartitionBatch(recs []*klamm.Record, refs []uint64, t *Topic, out []int32) error
}

// Accounter is implemented by partitioners that want to know what was appended
// to a partition. It is called after each append, also after those of keyed
// records. bytes is the record's size as it counts towards batch_size, newBatch
// says that the record opened a new batch.
type Accounter interface {
	Appended(topic string, partition int32, bytes int, newBatch bool)
}

// What a Batched partitioner may answer besides a partition.
const (
	UseDefault     int32 = -1
	NotPartitioned int32 = -2
)
