package consume

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
)

// placeVersion is the last Heartbeat there is; instances came with version 3
// (KIP-345).
const placeVersion = 4

// Replaced reports whether another member has the place of a static one now: has
// joined as the same instance since. A member whose session has ended has no place
// that another one could have taken. It asks again while errors are such as pass,
// until ctx ends.
func Replaced(ctx context.Context, c *cluster.Cluster, group, instance, member string, generation int32) (bool, error) {
	k := &coordinator{cluster: c, group: group}
	replaced := false
	err := k.patiently(ctx, "look for another member of our name", func() error {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.Generation, req.MemberID, req.InstanceID = group, generation, member, &instance
		resp, err := k.request(ctx, req, placeVersion)
		if err != nil {
			return err
		}
		code := resp.(*kmsg.HeartbeatResponse).ErrorCode
		switch klamm.Code(code) {
		case klamm.CodeFencedInstanceId:
			replaced = true
		case klamm.CodeNone, klamm.CodeRebalanceInProgress, klamm.CodeIllegalGeneration,
			klamm.CodeUnknownMemberId, klamm.CodeGroupIdNotFound:
		default:
			return brokerError(code)
		}
		return nil
	})
	return replaced, err
}
