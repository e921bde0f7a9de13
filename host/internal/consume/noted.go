package consume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
)

// Noted is a committed offset with its metadata, "" where it has none.
type Noted struct {
	Offset int64
	Note   string
}

// CommitNoted commits offsets of a group that has no members; while it has, its
// coordinator refuses. It asks again while errors are such as pass, until ctx
// ends.
func CommitNoted(ctx context.Context, c *cluster.Cluster, group string, offsets map[klamm.TopicPartition]Noted) error {
	k := &coordinator{cluster: c, group: group}
	return k.patiently(ctx, "commit offsets", func() error {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Generation = noGeneration
		_, err := k.commit(ctx, req, offsets)
		return err
	})
}

// CommittedNoted returns the group's committed offsets; partitions without one
// are left out. It waits for transactions that will change one (KIP-447), and asks
// again while errors are such as pass, until ctx ends.
func CommittedNoted(ctx context.Context, c *cluster.Cluster, group string, tps []klamm.TopicPartition) (offsets map[klamm.TopicPartition]Noted, err error) {
	k := &coordinator{cluster: c, group: group}
	err = k.patiently(ctx, "committed offsets", func() (err error) {
		offsets, err = k.committed(ctx, nobody, tps)
		return err
	})
	return offsets, err
}

// Committed is CommittedNoted without the metadata.
func Committed(ctx context.Context, c *cluster.Cluster, group string, tps []klamm.TopicPartition) (map[klamm.TopicPartition]int64, error) {
	noted, err := CommittedNoted(ctx, c, group, tps)
	if err != nil {
		return nil, err
	}
	return offsetsOf(noted), nil
}

func offsetsOf(noted map[klamm.TopicPartition]Noted) map[klamm.TopicPartition]int64 {
	offsets := make(map[klamm.TopicPartition]int64, len(noted))
	for tp, at := range noted {
		offsets[tp] = at.Offset
	}
	return offsets
}

// Watch asks for a group's committed offsets now and then, on one connection. It is
// for one goroutine.
type Watch struct{ k coordinator }

// NewWatch returns a Watch, to be closed.
func NewWatch(c *cluster.Cluster, group string) *Watch {
	return &Watch{coordinator{cluster: c, group: group}}
}

// Committed asks once.
func (w *Watch) Committed(ctx context.Context, tps []klamm.TopicPartition) (map[klamm.TopicPartition]int64, error) {
	noted, err := w.k.committed(ctx, nobody, tps)
	if err != nil {
		if moved(codeOf(err)) {
			w.k.hangUp()
		}
		return nil, fmt.Errorf("committed offsets of group %q: %w", w.k.group, err)
	}
	return offsetsOf(noted), nil
}

// Close ends the connection.
func (w *Watch) Close() { w.k.hangUp() }

// patiently repeats a request while its errors are such as pass.
func (k *coordinator) patiently(ctx context.Context, what string, request func() error) error {
	defer k.hangUp()
	for n := 0; ; n++ {
		err := request()
		if err == nil {
			return nil
		}
		code := codeOf(err)
		if !again(code) {
			return fmt.Errorf("%s of group %q: %w", what, k.group, err)
		}
		if moved(code) {
			k.hangUp()
		}
		select {
		case <-time.After(min(retryBackoff<<min(n, 4), retryBackoffMax)):
		case <-ctx.Done():
			return fmt.Errorf("%s of group %q: %w: %w", what, k.group, context.Cause(ctx), err)
		}
	}
}

// commit sends a request that says as whom, with the offsets. It returns what was
// committed, and the first refusal.
func (k *coordinator) commit(ctx context.Context, req *kmsg.OffsetCommitRequest, offsets map[klamm.TopicPartition]Noted) (map[klamm.TopicPartition]int64, error) {
	req.Group = k.group
	req.Topics = byTopic(offsets, req.Topics, func(name string) kmsg.OffsetCommitRequestTopic {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = name
		return t
	}, func(t *kmsg.OffsetCommitRequestTopic, partition int32, at Noted) {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = partition, at.Offset
		if at.Note != "" {
			p.Metadata = &at.Note
		}
		t.Partitions = append(t.Partitions, p)
	})
	resp, err := k.request(ctx, req, offsetCommitVersion)
	if err != nil {
		return nil, err
	}
	done := make(map[klamm.TopicPartition]int64, len(offsets))
	var refused error
	for _, t := range resp.(*kmsg.OffsetCommitResponse).Topics {
		for _, p := range t.Partitions {
			tp := klamm.TopicPartition{Topic: t.Topic, Partition: p.Partition}
			if p.ErrorCode == 0 {
				done[tp] = offsets[tp].Offset
				continue
			}
			refused = worse(refused, fmt.Errorf("%s/%d: %w", tp.Topic, tp.Partition, brokerError(p.ErrorCode)))
		}
	}
	if moved(codeOf(refused)) {
		k.hangUp()
	}
	if refused == nil && len(done) < len(offsets) {
		refused = errors.New("the answer does not mention every partition")
	}
	return done, refused
}

// leaveVersion is the first LeaveGroup that names static members (KIP-345).
const leaveVersion = 3

// PutOut takes a static member out of a group, as one does that will not come
// back: it would keep its place until its session ends. One that is not there is
// no error.
func PutOut(ctx context.Context, c *cluster.Cluster, group, instance string) error {
	k := &coordinator{cluster: c, group: group}
	return k.patiently(ctx, "put a static member out", func() error {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Group = group
		member := kmsg.NewLeaveGroupRequestMember()
		member.InstanceID = &instance
		req.Members = append(req.Members, member)
		resp, err := k.request(ctx, req, leaveVersion)
		if err != nil {
			return err
		}
		lr := resp.(*kmsg.LeaveGroupResponse)
		codes := []int16{lr.ErrorCode}
		for _, m := range lr.Members {
			codes = append(codes, m.ErrorCode)
		}
		for _, code := range codes {
			switch klamm.Code(code) {
			case klamm.CodeNone, klamm.CodeUnknownMemberId, klamm.CodeGroupIdNotFound:
			default:
				return brokerError(code)
			}
		}
		return nil
	})
}
