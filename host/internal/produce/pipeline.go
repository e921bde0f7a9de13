// Package produce is Klamm's producer pipeline: it gathers records in batches,
// sends them to the partitions' leaders and makes sure that each is written
// once and in order, with the guarantees of Kafka's idempotent producer.
//
// All methods of Pipeline are safe for concurrent use.
package produce

import (
	"context"
	"log/slog"
	"time"

	"github.com/klamm-io/klamm/internal/config"
)

// Pipeline takes records and sends them to the leaders of their partitions.
type Pipeline struct{}

// New starts a pipeline. complete is called exactly once for every record that
// Append took, a batch of them at a time, from the pipeline's goroutines. It
// must not wait. log nil discards.
func New(cfg *config.Producer, c Cluster, complete func(*Completion), log *slog.Logger) (*Pipeline, error) {
	panic("not yet")
}

// Reserve waits for n bytes of buffer memory (buffer_memory), first come first
// served. It ends with klamm.ErrBufferFull at the deadline, with the context's
// error, with klamm.ErrClosed, and with klamm.ErrRecordTooLarge at once when
// the memory as a whole is smaller than n.
func (p *Pipeline) Reserve(ctx context.Context, n int, deadline time.Time) error { panic("not yet") }

// Overdraw takes n bytes without waiting: a record has grown after Reserve.
func (p *Pipeline) Overdraw(n int) { panic("not yet") }

// Release gives back n bytes that were reserved and not appended.
func (p *Pipeline) Release(n int) { panic("not yet") }

// Append copies the record into its partition's batch. It never waits. After an
// error nothing was taken over and r.Reserved is still the caller's.
func (p *Pipeline) Append(r *Record) error { panic("not yet") }

// Load sets dst to the bytes that are queued for each partition of the topic,
// in their order, and returns it.
func (p *Pipeline) Load(topic string, dst []uint32) []uint32 { panic("not yet") }

// BeginFlush makes every batch ready at once until end is called. Flushes may
// overlap.
func (p *Pipeline) BeginFlush() (end func()) { panic("not yet") }

// Close refuses further records, sends what is there until ctx ends, and fails
// the rest: with klamm.ErrClosed, or klamm.ErrOutcomeUnknown what may be in the
// log. After it returns complete is never called again.
func (p *Pipeline) Close(ctx context.Context) error { panic("not yet") }

// Stats returns the pipeline's figures.
func (p *Pipeline) Stats() Stats { panic("not yet") }
