package consume

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
)

// Versions before KIP-848 and topic ids.
const (
	offsetCommitVersion = 8
	offsetFetchVersion  = 7
)

// coordinator is a connection to a group's coordinator, for offsets only: on
// sarama's, a request would wait behind a JoinGroup, which lasts as long as the
// rebalance.
type coordinator struct {
	cluster *cluster.Cluster
	group   string

	mu   sync.Mutex // held during a request
	conn *cluster.Conn
}

func (k *coordinator) request(ctx context.Context, req kmsg.Request, most int16) (kmsg.Response, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, answerTimeout, errNoAnswer)
	defer cancel()
	if k.conn == nil {
		id, err := k.cluster.Coordinator(ctx, k.group)
		if err != nil {
			return nil, err
		}
		if k.conn, err = k.cluster.Dial(ctx, id); err != nil {
			return nil, err
		}
	}
	resp, err := k.conn.Request(ctx, req, most)
	if err != nil {
		k.hangUpLocked()
	}
	return resp, err
}

func (k *coordinator) hangUpLocked() {
	if k.conn != nil {
		k.conn.Close()
		k.conn = nil
	}
}

// hangUp has the next request look for the coordinator anew.
func (k *coordinator) hangUp() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hangUpLocked()
}

// moved reports whether a code says that another broker coordinates the group.
func moved(code klamm.Code) bool {
	return code == klamm.CodeNotCoordinator || code == klamm.CodeCoordinatorNotAvailable
}

// again reports whether a request to the coordinator may be repeated. What is no
// broker's answer is a connection that ended.
func again(code klamm.Code) bool {
	return code == klamm.CodeNone || code.Retriable()
}

// Committed returns the group's committed offsets; partitions without one are
// left out. It waits for transactions that will change one (KIP-447), and asks
// again while errors are such as pass, until ctx ends.
func Committed(ctx context.Context, c *cluster.Cluster, group string, tps []klamm.TopicPartition) (map[klamm.TopicPartition]int64, error) {
	k := &coordinator{cluster: c, group: group}
	defer k.hangUp()
	for n := 0; ; n++ {
		offsets, err := k.committed(ctx, tps)
		if err == nil {
			return offsets, nil
		}
		code := codeOf(err)
		if !again(code) {
			return nil, fmt.Errorf("committed offsets of group %q: %w", group, err)
		}
		if moved(code) {
			k.hangUp()
		}
		select {
		case <-time.After(min(retryBackoff<<min(n, 4), retryBackoffMax)):
		case <-ctx.Done():
			return nil, fmt.Errorf("committed offsets of group %q: %w: %w", group, context.Cause(ctx), err)
		}
	}
}

func (k *coordinator) committed(ctx context.Context, tps []klamm.TopicPartition) (map[klamm.TopicPartition]int64, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = k.group, true
	topics := make(map[string]int)
	for _, tp := range tps {
		i, ok := topics[tp.Topic]
		if !ok {
			rt := kmsg.NewOffsetFetchRequestTopic()
			rt.Topic = tp.Topic
			i, topics[tp.Topic] = len(req.Topics), len(req.Topics)
			req.Topics = append(req.Topics, rt)
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, tp.Partition)
	}
	resp, err := k.request(ctx, req, offsetFetchVersion)
	if err != nil {
		return nil, err
	}
	fr := resp.(*kmsg.OffsetFetchResponse)
	if klamm.Code(fr.ErrorCode) == klamm.CodeGroupIdNotFound {
		return nil, nil // a group that nobody has joined yet has committed nothing
	}
	offsets := make(map[klamm.TopicPartition]int64)
	if klamm.Code(fr.ErrorCode) == klamm.CodeGroupIdNotFound {
		return offsets, nil // nobody has joined it yet
	}
	if err := brokerError(fr.ErrorCode); err != nil {
		return nil, err
	}
	for _, t := range fr.Topics {
		for _, p := range t.Partitions {
			if err := brokerError(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("%s/%d: %w", t.Topic, p.Partition, err)
			}
			if p.Offset >= 0 {
				offsets[klamm.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = p.Offset
			}
		}
	}
	return offsets, nil
}
