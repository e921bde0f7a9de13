package cluster

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/IBM/sarama"
)

// Topic is what is known of a topic at one moment. It never changes.
type Topic struct {
	Name string
	// ID is the topic's id (KIP-516), zero with brokers older than 2.8. A topic
	// that was deleted and made anew has another one.
	ID [16]byte
	// Epoch rises with every change of the partitions or their leaders.
	Epoch uint32
	// Partitions are in the order of their numbers, without gaps.
	Partitions []Partition

	used *atomic.Bool // since the metadata goroutine looked last; shared by all versions
}

// Partition is one partition's leader.
type Partition struct {
	Leader      int32 // -1: none at the moment
	LeaderEpoch int32 // -1: not known
}

// maxPartitions bounds what one answer may make us allocate.
const maxPartitions = 1 << 20

// merge returns what is known after an answer. It is old itself when the answer
// brings nothing new.
//
// A broker that lags behind must not undo what another one said: of one topic
// id, a leader of an older epoch is ignored, and partitions never become
// fewer.
func merge(old *Topic, answer *sarama.TopicMetadata) (*Topic, error) {
	t := &Topic{Name: answer.Name, ID: answer.Uuid}
	if old != nil {
		t.used = old.used
	}
	count := 0
	for _, p := range answer.Partitions {
		if p.ID < 0 || p.ID >= maxPartitions {
			return nil, fmt.Errorf("topic %q: metadata names partition %d", answer.Name, p.ID)
		}
		count = max(count, int(p.ID)+1)
	}
	same := old != nil && old.ID == t.ID
	if same && t.ID != [16]byte{} {
		count = max(count, len(old.Partitions))
	}
	t.Partitions = slices.Repeat([]Partition{{Leader: -1, LeaderEpoch: -1}}, count)
	if same {
		copy(t.Partitions, old.Partitions)
	}
	for _, p := range answer.Partitions {
		t.Partitions[p.ID] = mergePartition(t.Partitions[p.ID], p)
	}
	if old == nil {
		t.Epoch = 1
		return t, nil
	}
	if same && slices.Equal(t.Partitions, old.Partitions) {
		return old, nil
	}
	t.Epoch = old.Epoch + 1
	return t, nil
}

func mergePartition(old Partition, p *sarama.PartitionMetadata) Partition {
	if p.LeaderEpoch >= 0 && p.LeaderEpoch < old.LeaderEpoch {
		return old
	}
	switch p.Err {
	case sarama.ErrNoError, sarama.ErrReplicaNotAvailable: // the latter has a leader (KAFKA-1535)
		return Partition{Leader: max(p.Leader, -1), LeaderEpoch: max(p.LeaderEpoch, old.LeaderEpoch)}
	case sarama.ErrLeaderNotAvailable:
		return Partition{Leader: -1, LeaderEpoch: max(p.LeaderEpoch, old.LeaderEpoch)}
	}
	return old // a broker that knows nothing is no news
}

// leaderless reports whether some partition has no leader.
func (t *Topic) leaderless() bool {
	return slices.ContainsFunc(t.Partitions, func(p Partition) bool { return p.Leader < 0 })
}

// withLeader returns t with one leader changed, or nil when the hint is no news.
func (t *Topic) withLeader(partition, broker, epoch int32) *Topic {
	if partition < 0 || int(partition) >= len(t.Partitions) || broker < 0 {
		return nil
	}
	p := t.Partitions[partition]
	if epoch < p.LeaderEpoch || epoch == p.LeaderEpoch && p.Leader >= 0 {
		return nil
	}
	n := *t
	n.Epoch++
	n.Partitions = slices.Clone(t.Partitions)
	n.Partitions[partition] = Partition{Leader: broker, LeaderEpoch: epoch}
	return &n
}
