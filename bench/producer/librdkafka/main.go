//go:build cgo

// Command librdkafka drives confluent-kafka-go, which is librdkafka. It is a
// program of its own because it needs cgo.
package main

import (
	"errors"
	"sync"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"github.com/klamm-io/klamm/bench/internal/drive"
	"github.com/klamm-io/klamm/bench/internal/records"
)

func main() { drive.Main(open) }

type client struct {
	producer *kafka.Producer
	topic    string
	open     sync.WaitGroup
	reader   sync.WaitGroup
}

func open(cfg drive.Config) (drive.Client, error) {
	servers := ""
	for i, b := range cfg.Brokers {
		if i > 0 {
			servers += ","
		}
		servers += b
	}
	p, err := kafka.NewProducer(&kafka.ConfigMap{
		"bootstrap.servers":            servers,
		"enable.idempotence":           true,
		"linger.ms":                    5,
		"compression.type":             cfg.Codec,
		"queue.buffering.max.messages": 1_000_000,
		"go.delivery.report.fields":    "none",
	})
	if err != nil {
		return nil, err
	}
	c := &client{producer: p, topic: cfg.Topic}
	c.reader.Go(c.deliveries)
	return c, nil
}

// pending is what a message carries to its delivery report.
type pending struct {
	acks *drive.Acks
	n    int
}

func (c *client) deliveries() {
	for e := range c.producer.Events() {
		m, ok := e.(*kafka.Message)
		if !ok {
			continue
		}
		switch p := m.Opaque.(type) {
		case *pending:
			tell(p.acks, m.TopicPartition.Error)
			p.acks.DoneAt(p.n)
		case *drive.Acks:
			tell(p, m.TopicPartition.Error)
			p.Done(1)
		}
		c.open.Done()
	}
}

func tell(acks *drive.Acks, err error) {
	if err != nil {
		acks.Fail(err)
	}
}

func (c *client) Send(set *records.Set, from, to int, acks *drive.Acks) error {
	c.open.Add(to - from)
	for n := from; n < to; n++ {
		m := &kafka.Message{
			TopicPartition: kafka.TopicPartition{Topic: &c.topic, Partition: kafka.PartitionAny},
			Key:            set.Key(n), Value: set.Value(n), Opaque: acks,
		}
		if acks.Timed {
			m.Opaque = &pending{acks, n}
		}
		if err := c.produce(m); err != nil {
			return err
		}
	}
	return nil
}

// produce waits while the queue is full.
func (c *client) produce(m *kafka.Message) error {
	for {
		err := c.producer.Produce(m, nil)
		var full kafka.Error
		if !errors.As(err, &full) || full.Code() != kafka.ErrQueueFull {
			return err
		}
		c.producer.Flush(1)
	}
}

func (c *client) Flush() error { c.open.Wait(); return nil }

func (c *client) Close() error {
	c.producer.Close()
	c.reader.Wait()
	return nil
}
