package consume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
)

// Commit commits the offsets of the next records to read, of partitions that the
// member has. An offset that is not above one committed since the partition was
// assigned is passed over.
//
// Errors that pass are retried until ctx ends, and so is a rebalance that the
// member is just going through. Others come at once: ErrRebalancing, ErrNotOwner
// and the broker's own, as a *klamm.BrokerError. Offsets committed before the
// error have been told to Handler.Committed.
func (g *Group) Commit(ctx context.Context, offsets map[klamm.TopicPartition]int64) error {
	return g.CommitAs(ctx, g.Ticket(), offsets)
}

// Ticket stands for the seeks so far.
func (g *Group) Ticket() int64 { return g.own.ticket() }

// CommitAs is Commit of offsets that were what they are when the ticket was taken.
// Those of partitions that were sought since are passed over.
func (g *Group) CommitAs(ctx context.Context, ticket int64, offsets map[klamm.TopicPartition]int64) error {
	rest := maps.Clone(offsets)
	for n := 0; ; n++ {
		err := g.commitOnce(ctx, ticket, rest)
		if err == nil {
			return nil
		}
		if !g.commitAgain(err) {
			return fmt.Errorf("commit in group %q: %w", g.id, err)
		}
		select {
		case <-time.After(min(retryBackoff<<min(n, 4), retryBackoffMax)):
		case <-ctx.Done():
			return fmt.Errorf("commit in group %q: %w: %w", g.id, context.Cause(ctx), err)
		}
	}
}

// commitAgain decides about an error of commitOnce.
func (g *Group) commitAgain(err error) bool {
	if errors.Is(err, ErrNotOwner) {
		return false
	}
	if errors.Is(err, ErrRebalancing) {
		var stale *staleError
		return errors.As(err, &stale) && g.generation() != stale.generation || g.member.moving()
	}
	return again(codeOf(err))
}

// staleError is an answer to a generation that has ended.
type staleError struct {
	generation int32
	err        error
}

func (e *staleError) Error() string   { return e.err.Error() }
func (e *staleError) Unwrap() []error { return []error{ErrRebalancing, e.err} }

func (g *Group) generation() int32 {
	who, _ := g.member.identity()
	return who.generation
}

// commitOnce makes one request and takes out of rest what it committed.
func (g *Group) commitOnce(ctx context.Context, ticket int64, rest map[klamm.TopicPartition]int64) error {
	g.committing.Lock()
	defer g.committing.Unlock()
	if tp, missing := g.own.missing(rest); missing {
		return fmt.Errorf("%s/%d: %w", tp.Topic, tp.Partition, ErrNotOwner)
	}
	fresh := g.own.advance(ticket, rest)
	if len(fresh) == 0 {
		return nil
	}
	who, in := g.member.identity()
	if !in {
		return ErrNotOwner
	}
	done, err := g.sendCommit(ctx, who, fresh)
	if len(done) > 0 {
		g.own.committed(ticket, done)
		g.h.Committed(done)
		maps.DeleteFunc(rest, func(tp klamm.TopicPartition, _ int64) bool { _, ok := done[tp]; return ok })
	}
	return explainCommit(err, who.generation)
}

// explainCommit says what a broker's refusal means for the member.
func explainCommit(err error, generation int32) error {
	switch codeOf(err) {
	case klamm.CodeUnknownMemberId, klamm.CodeFencedInstanceId, klamm.CodeFencedMemberEpoch:
		return fmt.Errorf("%w: %w", ErrNotOwner, err)
	case klamm.CodeIllegalGeneration, klamm.CodeRebalanceInProgress, klamm.CodeStaleMemberEpoch:
		return &staleError{generation, err}
	}
	return err
}

// sendCommit returns what was committed, and the first refusal.
func (g *Group) sendCommit(ctx context.Context, who identity, offsets map[klamm.TopicPartition]int64) (map[klamm.TopicPartition]int64, error) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Generation, req.MemberID = who.generation, who.member
	if g.instance != "" {
		req.InstanceID = &g.instance
	}
	noted := make(map[klamm.TopicPartition]Noted, len(offsets))
	for tp, at := range offsets {
		noted[tp] = Noted{Offset: at}
	}
	return g.coord.commit(ctx, req, noted)
}

// worse keeps the error that must not be retried.
func worse(a, b error) error {
	if a == nil || again(codeOf(a)) {
		return b
	}
	return a
}
