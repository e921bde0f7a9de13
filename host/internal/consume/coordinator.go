package consume

import (
	"context"
	"fmt"
	"sync"

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

func (k *coordinator) committed(ctx context.Context, tps []klamm.TopicPartition) (map[klamm.TopicPartition]Noted, error) {
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
	offsets := make(map[klamm.TopicPartition]Noted)
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
				at := Noted{Offset: p.Offset}
				if p.Metadata != nil {
					at.Note = *p.Metadata
				}
				offsets[klamm.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = at
			}
		}
	}
	return offsets, nil
}
