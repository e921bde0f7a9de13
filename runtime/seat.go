package runtime

import (
	"context"

	"github.com/klamm-io/klamm/sdk/abi"
)

// SeatConfig says whose place at a plugin it is.
type SeatConfig struct {
	Chain  string
	Topics []string
	// Lane counts from 0 to Lanes-1.
	Lane, Lanes int
	Host        Host
}

// Seat is a lane's place at a plugin: it owns one instance of one generation.
// Its methods take the seat's own lock, so that on_send and on_acknowledgement
// may come from different goroutines.
type Seat struct{}

// Seat opens a place at the plugin, which must have an active generation.
func (p *Plugin) Seat(ctx context.Context, cfg SeatConfig) (*Seat, error) { return nil, errNotReady }

// Generation returns the generation that the next call uses. Build the block
// for its Fields.
func (s *Seat) Generation() *Generation { return nil }

// Judge calls on_send, on_consume or partition with the block and returns one
// checked verdict for each record. They are valid until the seat's next Judge.
func (s *Seat) Judge(ctx context.Context, h abi.Hook, b *Block) (*Verdicts, error) {
	return nil, errNotReady
}

// Notify calls on_acknowledgement or on_commit with the block.
func (s *Seat) Notify(ctx context.Context, h abi.Hook, b *Block) error { return errNotReady }

// Close calls klamm_close and releases the instance.
func (s *Seat) Close(ctx context.Context) error { return nil }
