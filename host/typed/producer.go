package typed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// Sender is what takes records as bytes, such as *host.Producer.
type Sender interface {
	Send(ctx context.Context, rec *klamm.Record) (klamm.Result, error)
	SendAsync(ctx context.Context, rec *klamm.Record, done func(klamm.Result)) error
	SendBatch(ctx context.Context, recs []klamm.Record) ([]klamm.Result, error)
}

var _ Sender = (*host.Producer)(nil)

// Record is a klamm.Record with a key and a value of Go types.
type Record[K, V any] struct {
	Topic   string
	Target  klamm.Target
	Key     K
	Value   V
	Headers []klamm.Header
	// Timestamp is the create time; zero stands for the time of Send.
	Timestamp time.Time

	// Partition, Offset and LeaderEpoch say where a record was read. Send ignores
	// them.
	Partition   int32
	Offset      int64
	LeaderEpoch int32
}

// Producer sends records of one key type and one value type. It keeps nothing:
// flushing and closing are its Sender's.
type Producer[K, V any] struct {
	to    Sender
	key   Serializer[K]
	value Serializer[V]
}

// NewProducer returns a producer that serialises with key and value and sends
// through to.
func NewProducer[K, V any](to Sender, key Serializer[K], value Serializer[V]) *Producer[K, V] {
	return &Producer[K, V]{to: to, key: key, value: value}
}

// Send serialises one record, sends it and waits for its completion, as
// host.Producer.Send. A record that cannot be serialised is a *Error.
func (p *Producer[K, V]) Send(ctx context.Context, rec *Record[K, V]) (klamm.Result, error) {
	raw, err := p.serialize(ctx, rec)
	if err != nil {
		return refused(rec, err), err
	}
	return p.to.Send(ctx, &raw)
}

// SendAsync serialises one record, stages it and returns, as
// host.Producer.SendAsync: done, which may be nil, is called once, unless an error
// is returned. A record that cannot be serialised is a *Error.
func (p *Producer[K, V]) SendAsync(ctx context.Context, rec *Record[K, V], done func(klamm.Result)) error {
	raw, err := p.serialize(ctx, rec)
	if err != nil {
		return err
	}
	return p.to.SendAsync(ctx, &raw, done)
}

// SendBatch sends records and waits for all of them. Results are in the order of
// the records. Those that cannot be serialised fail with a *Error; the others are
// sent. The error joins those of the records that failed.
func (p *Producer[K, V]) SendBatch(ctx context.Context, recs []Record[K, V]) ([]klamm.Result, error) {
	results := make([]klamm.Result, len(recs))
	var raws []klamm.Record
	var places []int
	var errs []error
	for i := range recs {
		raw, err := p.serialize(ctx, &recs[i])
		if err != nil {
			results[i] = refused(&recs[i], err)
			errs = append(errs, fmt.Errorf("record %d: %w", i, err))
			continue
		}
		raws, places = append(raws, raw), append(places, i)
	}
	if len(raws) == 0 {
		return results, errors.Join(errs...)
	}
	sent, _ := p.to.SendBatch(ctx, raws) // its errors are the results', counted by their place among raws
	for n, r := range sent {
		results[places[n]] = r
		if r.Err != nil {
			errs = append(errs, fmt.Errorf("record %d: %w", places[n], r.Err))
		}
	}
	return results, errors.Join(errs...)
}

func (p *Producer[K, V]) serialize(ctx context.Context, rec *Record[K, V]) (raw klamm.Record, err error) {
	if rec == nil {
		return raw, errors.New("send: the record is nil")
	}
	raw = klamm.Record{Topic: rec.Topic, Target: rec.Target, Timestamp: rec.Timestamp}
	at := Field{Topic: rec.Topic, Key: true, Headers: slices.Clone(rec.Headers)}
	if raw.Key, err = p.key.Serialize(ctx, &at, rec.Key); err != nil {
		return raw, sendError(&at, err)
	}
	at.Key = false
	if raw.Value, err = p.value.Serialize(ctx, &at, rec.Value); err != nil {
		return raw, sendError(&at, err)
	}
	raw.Headers = at.Headers
	return raw, nil
}

func sendError(at *Field, err error) error {
	return &Error{Topic: at.Topic, Key: at.Key, Partition: klamm.NoPartition, Offset: klamm.NoOffset, Err: err}
}

func refused[K, V any](rec *Record[K, V], err error) klamm.Result {
	r := klamm.Result{Outcome: klamm.Failed, Partition: klamm.NoPartition, Offset: klamm.NoOffset, Err: err}
	if rec != nil {
		r.Topic = rec.Topic
	}
	return r
}
