package consume

import (
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
)

// The member epochs that are no epochs (KIP-848).
const (
	epochJoin        int32 = 0  // not a member yet
	epochLeave       int32 = -1 // for good
	epochLeaveAwhile int32 = -2 // a static member, which comes back
)

// idPartition is a partition by its topic's id.
type idPartition struct {
	topic     [16]byte
	partition int32
}

// idPartitions is a set of them.
type idPartitions map[idPartition]bool

// beats is the member's side of ConsumerGroupHeartbeat (KIP-848) without clock,
// network and locks: what a request says, and what its answer means. There is one
// request at a time; answered or unanswered follows each next.
type beats struct {
	group, member, instance string
	assignor                string // "": the coordinator's default
	topics                  []string
	rebalance               time.Duration // how long a revocation may take

	epoch    int32 // epochJoin: not a member
	interval time.Duration
	target   idPartitions // what the coordinator wants the member to have
	owned    idPartitions // what it has
	asked    idPartitions // what the request under way says that it has; nil: nothing
	told     idPartitions // what the coordinator has been told that it has
	whole    bool         // the next request says everything: the last may not have come
}

// fate is what an answer means for the member.
type fate int

const (
	kept       fate = iota // it is a member; nothing is new
	retarget               // it is a member; target has changed
	retry                  // nothing has happened; ask again in a while
	elsewhere              // the same, and of another broker
	expelled               // its partitions may be others'; join anew with none
	unreleased             // another member holds its instance id
	replaced               // another member has taken its instance id
	refused                // for good
)

// next is the request that is due. It says what has changed; everything when the
// member joins or the last request may not have arrived.
func (b *beats) next() *kmsg.ConsumerGroupHeartbeatRequest {
	req := b.base(b.member, b.epoch)
	if b.epoch == epochJoin || b.whole {
		req.RebalanceTimeoutMillis = int32(b.rebalance.Milliseconds())
		req.SubscribedTopicNames = b.topics
		if b.assignor != "" {
			req.ServerAssignor = &b.assignor
		}
	}
	if b.asked = nil; b.epoch == epochJoin || b.whole || !maps.Equal(b.owned, b.told) {
		b.asked = maps.Clone(b.owned)
		if b.asked == nil {
			b.asked = idPartitions{}
		}
		req.Topics = b.asked.request()
	}
	return req
}

// leave is the last request.
func (b *beats) leave(epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	return b.base(b.member, epoch)
}

func (b *beats) base(member string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch = b.group, member, epoch
	if b.instance != "" {
		req.InstanceID = &b.instance
	}
	return req
}

// unanswered is called when it is not known whether the last request arrived.
func (b *beats) unanswered() { b.whole = true }

// answered takes the answer to the last request.
func (b *beats) answered(resp *kmsg.ConsumerGroupHeartbeatResponse) fate {
	if resp.ErrorCode != 0 {
		b.whole = true
		f := fateOf(klamm.Code(resp.ErrorCode), b.epoch)
		if f == expelled {
			b.expel()
		}
		return f
	}
	b.whole = false
	b.epoch = resp.MemberEpoch
	if resp.MemberID != nil && *resp.MemberID != "" {
		b.member = *resp.MemberID
	}
	if resp.HeartbeatIntervalMillis > 0 {
		b.interval = time.Duration(resp.HeartbeatIntervalMillis) * time.Millisecond
	}
	if b.asked != nil {
		b.told = b.asked
	}
	if resp.Assignment == nil {
		return kept
	}
	target := idPartitions{}
	for _, t := range resp.Assignment.Topics {
		for _, p := range t.Partitions {
			target[idPartition{t.TopicID, p}] = true
		}
	}
	if b.target != nil && maps.Equal(target, b.target) {
		return kept
	}
	b.target = target
	return retarget
}

// expel is the end of a membership. owned is what the member still has to let go;
// it joins anew once that is empty.
func (b *beats) expel() { b.epoch, b.target, b.told = epochJoin, nil, nil }

// holds notes what the member has. It returns whether the coordinator is to hear of
// it at once: others may wait for what has gone, and the member's epoch for what
// has come.
func (b *beats) holds(parts idPartitions) bool {
	b.owned = parts
	return b.epoch != epochJoin && !maps.Equal(b.owned, b.told)
}

// fateOf is what a refusal means to a member of that epoch.
func fateOf(code klamm.Code, epoch int32) fate {
	switch code {
	case klamm.CodeUnknownMemberId, klamm.CodeFencedMemberEpoch:
		if epoch == epochJoin {
			return retry
		}
		return expelled
	case klamm.CodeGroupIdNotFound: // a group that is gone, or one of another kind
		if epoch == epochJoin {
			return refused
		}
		return expelled
	case klamm.CodeUnreleasedInstanceId:
		return unreleased
	case klamm.CodeFencedInstanceId:
		return replaced
	}
	switch {
	case moved(code):
		return elsewhere
	case code.Retriable():
		return retry
	}
	return refused
}

func (s idPartitions) request() []kmsg.ConsumerGroupHeartbeatRequestTopic {
	topics := []kmsg.ConsumerGroupHeartbeatRequestTopic{} // not nil, which is "as before"
	at := make(map[[16]byte]int)
	for p := range s {
		i, ok := at[p.topic]
		if !ok {
			t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			t.TopicID = p.topic
			i, at[p.topic] = len(topics), len(topics)
			topics = append(topics, t)
		}
		topics[i].Partitions = append(topics[i].Partitions, p.partition)
	}
	return topics
}
