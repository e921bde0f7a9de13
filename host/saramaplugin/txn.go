package saramaplugin

import (
	"context"
	"sync"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/interceptor"
)

// transactions is what sarama's two producers have in common.
type transactions interface {
	IsTransactional() bool
	TxnStatus() sarama.ProducerTxnStatusFlag
	BeginTxn() error
	CommitTxn() error
	AbortTxn() error
	AddOffsetsToTxnWithGroupMetadata(map[string][]*sarama.PartitionOffsetMetadata, *sarama.ConsumerGroupMetadata) error
}

// txn passes transactions on. Offsets that a transaction commits are the one
// case in which sarama tells that a commit succeeded, so on_commit runs here.
type txn struct {
	inner   transactions
	sender  *sender
	barrier func() // what was sent is sarama's

	mu      sync.Mutex
	offsets map[klamm.TopicPartition]int64
}

func (t *txn) IsTransactional() bool                   { return t.inner.IsTransactional() }
func (t *txn) TxnStatus() sarama.ProducerTxnStatusFlag { return t.inner.TxnStatus() }
func (t *txn) BeginTxn() error                         { return t.inner.BeginTxn() }

// CommitTxn commits all messages that were sent before it, then runs on_commit
// for the offsets that were added.
func (t *txn) CommitTxn() error {
	t.barrier()
	if err := t.inner.CommitTxn(); err != nil {
		return err
	}
	t.committed(t.take())
	return nil
}

// AbortTxn aborts what was sent before it.
func (t *txn) AbortTxn() error {
	t.barrier()
	err := t.inner.AbortTxn()
	if err == nil {
		t.take()
	}
	return err
}

func (t *txn) AddOffsetsToTxn(offsets map[string][]*sarama.PartitionOffsetMetadata, group string) error {
	return t.AddOffsetsToTxnWithGroupMetadata(offsets, sarama.NewConsumerGroupMetadata(group))
}

func (t *txn) AddOffsetsToTxnWithGroupMetadata(offsets map[string][]*sarama.PartitionOffsetMetadata, group *sarama.ConsumerGroupMetadata) error {
	if err := t.inner.AddOffsetsToTxnWithGroupMetadata(offsets, group); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.offsets == nil {
		t.offsets = map[klamm.TopicPartition]int64{}
	}
	for topic, of := range offsets {
		for _, o := range of {
			t.offsets[klamm.TopicPartition{Topic: topic, Partition: o.Partition}] = o.Offset
		}
	}
	return nil
}

func (t *txn) AddMessageToTxn(msg *sarama.ConsumerMessage, group string, metadata *string) error {
	return t.AddMessageToTxnWithGroupMetadata(msg, sarama.NewConsumerGroupMetadata(group), metadata)
}

func (t *txn) AddMessageToTxnWithGroupMetadata(msg *sarama.ConsumerMessage, group *sarama.ConsumerGroupMetadata, metadata *string) error {
	next := &sarama.PartitionOffsetMetadata{Partition: msg.Partition, Offset: msg.Offset + 1, Metadata: metadata}
	return t.AddOffsetsToTxnWithGroupMetadata(map[string][]*sarama.PartitionOffsetMetadata{msg.Topic: {next}}, group)
}

func (t *txn) take() map[klamm.TopicPartition]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	offsets := t.offsets
	t.offsets = nil
	return offsets
}

// committed runs on_commit, chain by chain.
func (t *txn) committed(offsets map[klamm.TopicPartition]int64) {
	commits := map[string][]interceptor.Commit{}
	for tp, next := range offsets {
		chain := t.sender.h.ChainFor(tp.Topic)
		if t.sender.chains[chain].Commits {
			commits[chain] = append(commits[chain], interceptor.Commit{Topic: tp.Topic, Partition: tp.Partition, Offset: next})
		}
	}
	for chain, of := range commits {
		seat, err := t.sender.of(chain)
		if err != nil {
			sarama.Logger.Println("saramaplugin: on_commit:", err)
			continue
		}
		seat.OnCommit(context.Background(), of)
	}
}
