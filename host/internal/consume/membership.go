package consume

import (
	"context"

	"github.com/klamm-io/klamm/internal/config"
)

// membership is how a member belongs to its group: by JoinGroup and SyncGroup, or
// by heartbeats (KIP-848). It tells the group's ownership which partitions come and
// go; reading, commits, seeks and pauses are the group's, the same for both.
type membership interface {
	// run joins, has the partitions read, and joins again until ctx ends; then it
	// leaves and returns nil. Other errors are final.
	run(ctx context.Context) error
	// identity is what the coordinator knows the member by; false outside of the
	// group. One that has been put out keeps its last identity until it has let go
	// all that it had: commits under way must be refused, and those of nobody are
	// not.
	identity() (identity, bool)
	// moving reports whether the member is on its way out of a generation that it
	// keeps its partitions through, so that what was refused in it can be
	// repeated in the next one.
	moving() bool
	// steady has identity stay as it is until release is called (Group.Steady).
	steady(ctx context.Context) (release func(), err error)
	// turn is the number of the session (Group.Session).
	turn() int64
	// replaced reports whether another member has our place. It may be called
	// after run.
	replaced(ctx context.Context) (bool, error)
	// leave ends a static membership for good. It is called after run.
	leave(ctx context.Context) error
}

// identity is a member at one moment.
type identity struct {
	generation int32 // with KIP-848 the member epoch
	member     string
}

func newMembership(g *Group, cfg *config.Consumer) (membership, error) {
	if cfg.GroupProtocol == config.ConsumerProtocol {
		return newHeart(g, cfg)
	}
	return newClassic(g, cfg)
}
