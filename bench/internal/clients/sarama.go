package clients

import (
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm/bench/internal/drive"
	"github.com/klamm-io/klamm/bench/internal/records"
)

type saramaClient struct {
	producer sarama.AsyncProducer
	topic    string
	open     sync.WaitGroup // records without an acknowledgement
	readers  sync.WaitGroup
}

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func openSarama(cfg drive.Config) (drive.Client, error) {
	codec, ok := saramaCodecs[cfg.Codec]
	if !ok {
		return nil, fmt.Errorf("unknown codec %q", cfg.Codec)
	}
	sc := sarama.NewConfig()
	sc.Version = sarama.V2_8_0_0
	sc.Producer.RequiredAcks = sarama.WaitForAll
	sc.Producer.Return.Successes = true
	sc.Producer.Compression = codec
	sc.Producer.Flush.Frequency = 5 * time.Millisecond
	sc.Producer.Flush.Bytes = 512 << 10
	if cfg.Client == "sarama-idempotent" {
		sc.Producer.Idempotent = true
		sc.Net.MaxOpenRequests = 1 // sarama refuses more
	}
	p, err := sarama.NewAsyncProducer(cfg.Brokers, sc)
	if err != nil {
		return nil, err
	}
	c := &saramaClient{producer: p, topic: cfg.Topic}
	c.readers.Add(2)
	go c.successes()
	go c.errors()
	return c, nil
}

// pending is what a message carries to its acknowledgement.
type pending struct {
	acks *drive.Acks
	n    int
}

func (c *saramaClient) successes() {
	defer c.readers.Done()
	for m := range c.producer.Successes() {
		switch p := m.Metadata.(type) {
		case *pending:
			p.acks.DoneAt(p.n)
		case *drive.Acks:
			p.Done(1)
		}
		c.open.Done()
	}
}

func (c *saramaClient) errors() {
	defer c.readers.Done()
	for e := range c.producer.Errors() {
		switch p := e.Msg.Metadata.(type) {
		case *pending:
			p.acks.Fail(e.Err)
		case *drive.Acks:
			p.Fail(e.Err)
		}
		c.open.Done()
	}
}

func (c *saramaClient) Send(set *records.Set, from, to int, acks *drive.Acks) error {
	c.open.Add(to - from)
	for n := from; n < to; n++ {
		m := &sarama.ProducerMessage{
			Topic: c.topic, Key: sarama.ByteEncoder(set.Key(n)), Value: sarama.ByteEncoder(set.Value(n)), Metadata: acks,
		}
		if acks.Timed {
			m.Metadata = &pending{acks, n}
		}
		c.producer.Input() <- m
	}
	return nil
}

func (c *saramaClient) Flush() error { c.open.Wait(); return nil }

func (c *saramaClient) Close() error {
	c.producer.AsyncClose()
	c.readers.Wait()
	return nil
}
