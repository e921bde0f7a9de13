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
	targets  int          // how many there have been
	owned    idPartitions // what it has
	settled  bool         // owned follows target; before, it may take what is in it
	asked    idPartitions // what the request under way says that it has; nil: nothing
	told     idPartitions // what it said since the last assignment, nil: nothing
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
	if b.asked = nil; b.epoch == epochJoin || b.whole || b.news() {
		b.asked = b.claimed()
		req.Topics = b.asked.request()
	}
	return req
}

// claimed is what the member has, with what it is about to take.
//
// Without the latter a partition would have two readers: (1) an answer gives the
// member a partition, (2) the coordinator changes its mind and asks for it back, and
// that answer is lost, (3) the next request says that the member has nothing, so the
// partition goes to another one, (4) the member takes it, as the answer of 1 said.
func (b *beats) claimed() idPartitions {
	s := maps.Clone(b.owned)
	if s == nil {
		s = idPartitions{}
	}
	if !b.settled {
		maps.Copy(s, b.target)
	}
	return s
}

// news reports whether the coordinator knows less than it may. After each assignment
// it is told at least once: it waits for that where the member has to let go what it
// had not taken yet.
func (b *beats) news() bool { return b.told == nil || !maps.Equal(b.claimed(), b.told) }

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
	if resp.MemberEpoch == epochJoin {
		// It succeeds a static member and is to let go some of what that one had
		// first: it has none of it, and says so by joining again.
		return retry
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
	// Also where it is the old one: the coordinator may have given a partition in an
	// answer that was lost, taken it back in this one, and wait for it.
	b.told = nil
	target := idPartitions{}
	for _, t := range resp.Assignment.Topics {
		for _, p := range t.Partitions {
			target[idPartition{t.TopicID, p}] = true
		}
	}
	if b.target != nil && maps.Equal(target, b.target) {
		return kept
	}
	b.target, b.settled = target, false
	b.targets++
	return retarget
}

// expel is the end of a membership. owned is what the member still has to let go;
// it joins anew once that is empty.
func (b *beats) expel() { b.epoch, b.target, b.told, b.settled = epochJoin, nil, nil, true }

// holds notes what the member has, having followed that many targets. It returns
// whether the coordinator is to hear of it at once: others may wait for what has
// gone.
func (b *beats) holds(parts idPartitions, targets int) bool {
	b.owned, b.settled = parts, targets == b.targets
	return b.epoch != epochJoin && b.news()
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
