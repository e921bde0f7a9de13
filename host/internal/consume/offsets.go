package consume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/internal/config"
)

// Kafka's timestamps that stand for an offset.
const (
	atLatest   int64 = -1
	atEarliest int64 = -2
)

// listOffsetsVersion is the last one before tiered storage.
const listOffsetsVersion = 7

// resetOffset is where auto_offset_reset starts.
func resetOffset(r config.OffsetReset) (int64, error) {
	switch r {
	case "earliest":
		return atEarliest, nil
	case "latest":
		return atLatest, nil
	}
	return 0, fmt.Errorf("%w, and auto_offset_reset is %q", ErrNoOffset, r)
}

// resetOffsets replaces the stand-ins of partitions by their offsets.
func (b *brokerFetcher) resetOffsets(ctx context.Context, parts []*partition) error {
	ask := make(map[klamm.TopicPartition]int64)
	b.f.mu.Lock()
	for _, p := range parts {
		if p.next < 0 {
			ask[p.TopicPartition] = p.next
		}
	}
	b.f.mu.Unlock()
	if len(ask) == 0 {
		return nil
	}
	answers, err := listOffsets(ctx, b.conn, ask, b.f.cfg.readCommitted)
	if err != nil {
		return err
	}
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	for _, p := range parts {
		a, ok := answers[p.TopicPartition]
		switch {
		case !ok || p.next != ask[p.TopicPartition] || p.removed:
		case a.err != nil && !codeOf(a.err).Retriable():
			b.f.failLocked(p, fmt.Errorf("read %s/%d: %w", p.Topic, p.Partition, a.err))
		case a.err != nil:
			b.f.cluster.Refresh(p.Topic)
			b.f.giveBackLocked(p)
		default:
			p.next = a.offset
		}
	}
	return nil
}

// offsetAnswer is what a leader says about one partition. offset is -1 where no
// record is as young as the time asked for.
type offsetAnswer struct {
	offset int64
	err    error
}

// listOffsets asks one leader for the offsets at timestamps, or at atLatest and
// atEarliest. With readCommitted the latest is the last stable one.
func listOffsets(ctx context.Context, conn *cluster.Conn, at map[klamm.TopicPartition]int64, readCommitted bool) (map[klamm.TopicPartition]offsetAnswer, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	if readCommitted {
		req.IsolationLevel = 1
	}
	req.Topics = byTopic(at, req.Topics, func(name string) kmsg.ListOffsetsRequestTopic {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = name
		return t
	}, func(t *kmsg.ListOffsetsRequestTopic, partition int32, ts int64) {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = partition, ts
		t.Partitions = append(t.Partitions, p)
	})
	resp, err := conn.Request(ctx, req, listOffsetsVersion)
	if err != nil {
		return nil, err
	}
	answers := make(map[klamm.TopicPartition]offsetAnswer, len(at))
	for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			answers[klamm.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = offsetAnswer{p.Offset, brokerError(p.ErrorCode)}
		}
	}
	return answers, nil
}

// Offsets asks the leaders for the offsets at timestamps (milliseconds), or at
// -1, the end, and -2, the start. It asks again while errors are such as pass,
// until ctx ends.
func Offsets(ctx context.Context, c *cluster.Cluster, at map[klamm.TopicPartition]int64, readCommitted bool) (map[klamm.TopicPartition]int64, error) {
	found := make(map[klamm.TopicPartition]int64, len(at))
	for n := 0; ; n++ {
		err := offsetsOnce(ctx, c, at, readCommitted, found)
		if err == nil {
			return found, nil
		}
		if code := codeOf(err); code != klamm.CodeNone && !code.Retriable() {
			return nil, err
		}
		select {
		case <-time.After(min(retryBackoff<<min(n, 4), retryBackoffMax)):
		case <-ctx.Done():
			return nil, fmt.Errorf("offsets: %w: %w", context.Cause(ctx), err)
		}
	}
}

// offsetsOnce fills in what is missing in found.
func offsetsOnce(ctx context.Context, c *cluster.Cluster, at map[klamm.TopicPartition]int64, readCommitted bool, found map[klamm.TopicPartition]int64) error {
	byLeader := make(map[int32]map[klamm.TopicPartition]int64)
	for tp, ts := range at {
		if _, ok := found[tp]; ok {
			continue
		}
		if _, err := c.AwaitTopic(ctx, tp.Topic); err != nil {
			return err
		}
		leader, _ := c.Leader(tp.Topic, tp.Partition)
		if leader < 0 {
			c.Refresh(tp.Topic)
			return fmt.Errorf("%s/%d: %w", tp.Topic, tp.Partition, &klamm.BrokerError{Code: klamm.CodeLeaderNotAvailable})
		}
		if byLeader[leader] == nil {
			byLeader[leader] = make(map[klamm.TopicPartition]int64)
		}
		byLeader[leader][tp] = ts
	}
	var errs []error
	for leader, ask := range byLeader {
		conn, err := c.Dial(ctx, leader)
		if err != nil {
			c.Refresh()
			errs = append(errs, err)
			continue
		}
		answers, err := listOffsets(ctx, conn, ask, readCommitted)
		conn.Close()
		errs = append(errs, err)
		for tp, a := range answers {
			if a.err != nil {
				c.Refresh(tp.Topic)
				errs = append(errs, fmt.Errorf("%s/%d: %w", tp.Topic, tp.Partition, a.err))
				continue
			}
			found[tp] = a.offset
		}
	}
	return errors.Join(errs...)
}

// allPartitions returns every partition of the topics.
func allPartitions(ctx context.Context, c *cluster.Cluster, topics []string) ([]klamm.TopicPartition, error) {
	var tps []klamm.TopicPartition
	for _, name := range topics {
		t, err := c.AwaitTopic(ctx, name)
		if err != nil {
			return nil, err
		}
		for p := range t.Partitions {
			tps = append(tps, klamm.TopicPartition{Topic: name, Partition: int32(p)})
		}
	}
	return tps, nil
}

func everywhere(tps []klamm.TopicPartition, at int64) map[klamm.TopicPartition]int64 {
	m := make(map[klamm.TopicPartition]int64, len(tps))
	for _, tp := range tps {
		m[tp] = at
	}
	return m
}

// Remaining returns the ends of those partitions of the topics that the group
// has not committed up to their end, as read_committed sees it. A partition
// without a committed offset counts from its start.
func Remaining(ctx context.Context, c *cluster.Cluster, group string, topics []string) (map[klamm.TopicPartition]int64, error) {
	tps, err := allPartitions(ctx, c, topics)
	if err != nil {
		return nil, err
	}
	ends, err := Offsets(ctx, c, everywhere(tps, atLatest), true)
	if err != nil {
		return nil, err
	}
	starts, err := Offsets(ctx, c, everywhere(tps, atEarliest), true)
	if err != nil {
		return nil, err
	}
	committed, err := Committed(ctx, c, group, tps)
	if err != nil {
		return nil, err
	}
	for tp, end := range ends {
		at, ok := committed[tp]
		if !ok {
			at = starts[tp]
		}
		if max(at, starts[tp]) >= end {
			delete(ends, tp)
		}
	}
	return ends, nil
}
