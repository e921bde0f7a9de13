package saramaplugin

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// Partitioner returns a sarama partitioner that is Klamm's: that of a chain, or
// the one of that name: a plugin, or one of Klamm's own (default, round_robin,
// crc32, fnv1a ...). A message that a plugin routed to a partition goes there.
//
//	cfg.Producer.Partitioner = saramaplugin.Partitioner(h, "route-by-tenant")
//
// It is opened when the first message is partitioned; where that fails, messages
// fail with the reason. The topics of a producer share one instance, which ends
// with the host.
func Partitioner(h *host.Host, pluginOrChain string) sarama.PartitionerConstructor {
	p := &chainPartitioner{h: h, name: pluginOrChain}
	return func(string) sarama.Partitioner { return &routing{inner: p} }
}

// Routed returns a partitioner that sends a message to the partition that a
// plugin demanded (verdict ROUTE), and leaves all others to inner. Without it,
// or Partitioner, such a message fails: sarama's own partitioners obey nobody.
// NewAsyncProducer and NewSyncProducer see to it themselves.
func Routed(inner sarama.PartitionerConstructor) sarama.PartitionerConstructor {
	return func(topic string) sarama.Partitioner {
		if p, ok := inner(topic).(*routing); ok {
			return p
		}
		return &routing{inner: inner(topic)}
	}
}

// routed is the key of a message that demands a partition.
type routed struct {
	key       sarama.Encoder
	partition int32
}

func (r routed) Encode() ([]byte, error) { return encode(r.key) }

func (r routed) Length() int {
	if r.key == nil {
		return 0
	}
	return r.key.Length()
}

// routing obeys plugins first.
type routing struct{ inner sarama.Partitioner }

var _ sarama.DynamicConsistencyPartitioner = (*routing)(nil)

func (r *routing) Partition(msg *sarama.ProducerMessage, partitions int32) (int32, error) {
	to, ok := msg.Key.(routed)
	if !ok {
		return r.inner.Partition(msg, partitions)
	}
	if to.partition >= partitions {
		return -1, fmt.Errorf("%w: a plugin demanded %d, topic %q has partitions 0 to %d", klamm.ErrInvalidPartition, to.partition, msg.Topic, partitions-1)
	}
	return to.partition, nil
}

func (r *routing) RequiresConsistency() bool { return r.inner.RequiresConsistency() }

// MessageRequiresConsistency is true for a demanded partition: it is one of
// all, not of those with a leader.
func (r *routing) MessageRequiresConsistency(msg *sarama.ProducerMessage) bool {
	if _, ok := msg.Key.(routed); ok {
		return true
	}
	if d, ok := r.inner.(sarama.DynamicConsistencyPartitioner); ok {
		return d.MessageRequiresConsistency(msg)
	}
	return r.inner.RequiresConsistency()
}

// chainPartitioner asks the host.
type chainPartitioner struct {
	h    *host.Host
	name string

	mu   sync.Mutex
	seat *host.PartitionerSeat
}

func (p *chainPartitioner) open() (*host.PartitionerSeat, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.seat == nil {
		p.seat, err = p.h.PartitionerSeat(context.Background(), p.name)
	}
	return p.seat, err
}

func (p *chainPartitioner) Partition(msg *sarama.ProducerMessage, partitions int32) (int32, error) {
	seat, err := p.open()
	if err != nil {
		return -1, err
	}
	rec, err := recordOf(msg)
	if err != nil {
		return -1, err
	}
	return seat.Partition(&rec, partitions)
}

// RequiresConsistency: the choice is among all partitions. Klamm's partitioners
// know by themselves which have no leader.
func (p *chainPartitioner) RequiresConsistency() bool { return true }

// kind is how a producer's partitioner takes a demanded partition.
type kind uint8

const (
	deaf   kind = iota + 1 // not at all
	manual                 // in the message's Partition
	obeys                  // in a routed key
)

// targets finds out how the producer's partitioner is told a partition.
type targets struct {
	make  sarama.PartitionerConstructor
	kinds sync.Map // topic -> kind
}

var manualType = reflect.TypeOf(sarama.NewManualPartitioner(""))

func (t *targets) of(topic string) kind {
	if k, ok := t.kinds.Load(topic); ok {
		return k.(kind)
	}
	k := deaf
	if t.make != nil {
		p := t.make(topic)
		r, ours := p.(*routing)
		switch {
		case reflect.TypeOf(p) == manualType || ours && reflect.TypeOf(r.inner) == manualType:
			k = manual
		case ours:
			k = obeys
		}
	}
	t.kinds.Store(topic, k)
	return k
}

// apply tells sarama the partition that a record demands.
func (t *targets) apply(msg *sarama.ProducerMessage, rec *klamm.Record) error {
	to, demanded := rec.Target.Partition()
	switch k := t.of(rec.Topic); {
	case k == manual && demanded:
		msg.Partition = to
	case k == manual && msg.Partition > 0:
		msg.Partition = 0 // a dead letter, whose topic may have fewer
	case k == obeys && demanded:
		msg.Key = routed{msg.Key, to}
	case demanded:
		return fmt.Errorf("%w: a plugin demands partition %d of topic %q, and the producer's partitioner obeys nobody; "+
			"set Producer.Partitioner to saramaplugin.Routed(...) or saramaplugin.Partitioner(...)", klamm.ErrInvalidPartition, to, rec.Topic)
	}
	return nil
}
