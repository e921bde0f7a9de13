package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/produce"
)

// A coordinator calls a producer fenced when another one of its id has come, and
// also when it has aborted the producer's transaction for its age: a host that was
// suspended, or starved, finds itself so. The producer tells the two apart where it
// can; where it cannot, the group does. Hosts of one id are one static member in it
// (KIP-345), of which the last to join has the place: whoever finds another there
// ends. So of two that take the producer from each other one is left.
//
// Kafka Streams goes by the group alone: a producer that was fenced is a task that
// migrated, and the thread joins anew. Here a second host of the same id is a
// mistake to be told of, so that a producer which was fenced in the middle of its
// work, when it was not late, ends at once.

// errReplaced is the end of a host that found another one in its place.
var errReplaced = fmt.Errorf("another host runs with this [host] id, and has this one's place in the group; stop one of them, or give each an id of its own: %w", klamm.ErrFenced)

// goesOn returns nil where a pipeline whose producer was fenced may take it back:
// no other host has its place in the group.
func (p *pipeline) goesOn(ctx context.Context, err error) error {
	var fenced *produce.FencedError
	if !errors.As(err, &fenced) {
		return err
	}
	// One that has not committed yet may have been fenced by an older host, which
	// was late and had looked before this one joined.
	if late := fenced.Aged || p.once.producer.committed() == 0; !late {
		return err
	}
	return p.stillThere(ctx, err)
}

// stillThere returns nil unless another host has the pipeline's place in the group.
func (p *pipeline) stillThere(ctx context.Context, why error) error {
	replaced, err := p.group.Replaced(ctx)
	switch {
	case err != nil:
		return errors.Join(why, err)
	case replaced:
		return fmt.Errorf("%w: %w", errReplaced, why)
	}
	return nil
}
