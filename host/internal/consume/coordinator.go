package consume

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
)

// Versions before topic ids. They are the first ones in which a member epoch may
// stand for the generation (KIP-848).
const (
	offsetCommitVersion = 9
	offsetFetchVersion  = 9
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

// nobody asks for offsets from outside of the group.
var nobody = identity{generation: noGeneration}

// committed asks for offsets as a member with an epoch (KIP-848), or as nobody.
func (k *coordinator) committed(ctx context.Context, who identity, tps []klamm.TopicPartition) (map[klamm.TopicPartition]Noted, error) {
	offsets, err := k.answered(ctx, who, tps)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(offsets, func(_ klamm.TopicPartition, at Noted) bool { return at.Offset < 0 })
	return offsets, nil
}

// answered is committed with an offset below 0 for what has none, and beside a
// refusal of some partitions it returns those of the others.
func (k *coordinator) answered(ctx context.Context, who identity, tps []klamm.TopicPartition) (map[klamm.TopicPartition]Noted, error) {
	resp, err := k.request(ctx, offsetFetch(k.group, who, tps), offsetFetchVersion)
	if err != nil {
		return nil, err
	}
	groups := fetchedGroups(resp.(*kmsg.OffsetFetchResponse))
	if len(groups) != 1 {
		return nil, fmt.Errorf("the answer has the offsets of %d groups, one was asked for", len(groups))
	}
	offsets := make(map[klamm.TopicPartition]Noted, len(tps))
	switch code := klamm.Code(groups[0].ErrorCode); code {
	case klamm.CodeNone:
	case klamm.CodeGroupIdNotFound: // nobody has joined it yet
		for _, tp := range tps {
			offsets[tp] = Noted{Offset: -1}
		}
		return offsets, nil
	default:
		return nil, brokerError(groups[0].ErrorCode)
	}
	var refused error
	for _, t := range groups[0].Topics {
		for _, p := range t.Partitions {
			if err := brokerError(p.ErrorCode); err != nil {
				refused = worse(refused, fmt.Errorf("%s/%d: %w", t.Topic, p.Partition, err))
				continue
			}
			at := Noted{Offset: p.Offset}
			if p.Metadata != nil {
				at.Note = *p.Metadata
			}
			offsets[klamm.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = at
		}
	}
	if refused == nil {
		for _, tp := range tps { // one that an answer leaves out has none, and would be asked for forever
			if _, ok := offsets[tp]; !ok {
				offsets[tp] = Noted{Offset: -1}
			}
		}
	}
	return offsets, refused
}

// offsetFetch says the same in the fields of versions for one group, up to 7, and
// for several: which of them is sent is known at the connection.
func offsetFetch(group string, who identity, tps []klamm.TopicPartition) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = group, true
	rg := kmsg.NewOffsetFetchRequestGroup()
	rg.Group, rg.MemberEpoch = group, who.generation
	if who.member != "" {
		rg.MemberID = &who.member
	}
	topics := make(map[string]int)
	for _, tp := range tps {
		i, ok := topics[tp.Topic]
		if !ok {
			i, topics[tp.Topic] = len(req.Topics), len(req.Topics)
			rt, gt := kmsg.NewOffsetFetchRequestTopic(), kmsg.NewOffsetFetchRequestGroupTopic()
			rt.Topic, gt.Topic = tp.Topic, tp.Topic
			req.Topics, rg.Topics = append(req.Topics, rt), append(rg.Topics, gt)
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, tp.Partition)
		rg.Topics[i].Partitions = append(rg.Topics[i].Partitions, tp.Partition)
	}
	req.Groups = append(req.Groups, rg)
	return req
}

// fetchedGroups reads an answer of any version as one for several groups.
func fetchedGroups(r *kmsg.OffsetFetchResponse) []kmsg.OffsetFetchResponseGroup {
	if r.Version >= 8 {
		return r.Groups
	}
	g := kmsg.NewOffsetFetchResponseGroup()
	g.ErrorCode = r.ErrorCode
	for _, t := range r.Topics {
		gt := kmsg.NewOffsetFetchResponseGroupTopic()
		gt.Topic = t.Topic
		for _, p := range t.Partitions {
			gp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			gp.Partition, gp.Offset, gp.Metadata, gp.ErrorCode = p.Partition, p.Offset, p.Metadata, p.ErrorCode
			gt.Partitions = append(gt.Partitions, gp)
		}
		g.Topics = append(g.Topics, gt)
	}
	return []kmsg.OffsetFetchResponseGroup{g}
}
