package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
)

// CreateTopic makes a topic. partitions and replication of -1 are the broker's
// defaults; configs may be nil. It asks again while the error is one that passes,
// until ctx ends. A topic that exists is a *klamm.BrokerError with
// klamm.CodeTopicAlreadyExists.
func (c *Cluster) CreateTopic(ctx context.Context, name string, partitions int32, replication int16, configs map[string]string) error {
	if err := klamm.CheckTopic(name); err != nil {
		return err
	}
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: replication, ConfigEntries: make(map[string]*string)}
	for k, v := range configs {
		detail.ConfigEntries[k] = &v
	}
	err := c.retry(ctx, fmt.Sprintf("create topic %q", name), func(ctx context.Context) error {
		return c.createTopic(ctx, name, detail)
	})
	if err == nil {
		c.Refresh(name)
	}
	return err
}

func (c *Cluster) createTopic(ctx context.Context, name string, detail *sarama.TopicDetail) error {
	l, err := c.openController(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	var resp *sarama.CreateTopicsResponse
	err = l.do(ctx, func(b *sarama.Broker) (err error) {
		resp, err = b.CreateTopics(sarama.NewCreateTopicsRequest(protocolVersion, map[string]*sarama.TopicDetail{name: detail}, requestTimeout, false))
		return err
	})
	if err != nil {
		return l.explain(ctx, c.settings, err)
	}
	te := resp.TopicErrors[name]
	if te == nil {
		return errors.New("the broker's answer does not mention the topic")
	}
	err = brokerError(te.Err, te.ErrMsg)
	if te.Err == sarama.ErrNotController {
		// Learn the new one before the next attempt.
		return errors.Join(err, c.describe(ctx, l))
	}
	return err
}

// openController returns a connection to the controller, or to any broker where
// it cannot be reached: with KRaft all of them pass requests on to it.
func (c *Cluster) openController(ctx context.Context) (*link, error) {
	c.mu.Lock()
	id := c.controller
	addr, ok := c.brokers[id]
	c.mu.Unlock()
	if ok {
		if l, err := c.open(ctx, id, addr); err == nil {
			return l, nil
		}
	}
	return c.openAny(ctx)
}

// ListTopics returns the names of all topics but Kafka's own, sorted.
func (c *Cluster) ListTopics(ctx context.Context) ([]string, error) {
	resp, err := c.metadataNow(ctx, "list topics", nil)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range resp.Topics {
		if !t.IsInternal && t.Err == sarama.ErrNoError {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// DescribeTopics asks the brokers for topics as they are now and creates none.
// The topics come in the order of names. An error names every topic that is
// not there.
func (c *Cluster) DescribeTopics(ctx context.Context, names ...string) ([]*Topic, error) {
	if len(names) == 0 {
		return nil, nil
	}
	resp, err := c.metadataNow(ctx, "describe topics", names)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*sarama.TopicMetadata, len(resp.Topics))
	for _, t := range resp.Topics {
		found[t.Name] = t
	}
	topics := make([]*Topic, 0, len(names))
	var errs []error
	for _, name := range names {
		t, err := describeTopic(found[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("topic %q: %w", name, err))
		}
		topics = append(topics, t)
	}
	return topics, errors.Join(errs...)
}

func describeTopic(t *sarama.TopicMetadata) (*Topic, error) {
	if t == nil {
		return nil, brokerError(sarama.ErrUnknownTopicOrPartition, nil)
	}
	if t.Err != sarama.ErrNoError && len(t.Partitions) == 0 {
		return nil, brokerError(t.Err, nil)
	}
	return merge(nil, t)
}

// metadataNow asks any broker, without the cache.
func (c *Cluster) metadataNow(ctx context.Context, what string, names []string) (resp *sarama.MetadataResponse, err error) {
	err = c.retry(ctx, what, func(ctx context.Context) error {
		l, err := c.openAny(ctx)
		if err != nil {
			return err
		}
		defer l.close()
		if resp, err = c.requestMetadata(ctx, l, names, false); err != nil {
			return l.explain(ctx, c.settings, err)
		}
		return nil
	})
	return resp, err
}
