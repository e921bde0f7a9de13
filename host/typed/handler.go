package typed

import (
	"context"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// Handler handles one record. The record, and whatever of it shares the bytes
// that were read, is its own until it returns.
type Handler[K, V any] func(ctx context.Context, rec *Record[K, V]) error

// Handle returns a host.Handler, for host.Consumer.Run and host.Consume, that
// deserialises each record and calls f with it:
//
//	err := h.Consume(ctx, []string{"orders"}, typed.Handle(typed.String(), typed.JSON[Order](), f))
//
// A record that cannot be deserialised ends Run with a *Error, and is not
// committed: nothing is lost. See HandlePoison for another way.
func Handle[K, V any](key Deserializer[K], value Deserializer[V], f Handler[K, V]) host.Handler {
	return HandlePoison(key, value, f, func(_ context.Context, _ *klamm.Record, err error) error { return err })
}

// HandlePoison is Handle with a say in what becomes of records that cannot be
// deserialised: poison gets the record as it was read and the *Error. Where it
// returns nil the record counts as handled, as when it was written somewhere
// else; an error ends Run.
func HandlePoison[K, V any](key Deserializer[K], value Deserializer[V], f Handler[K, V], poison func(ctx context.Context, rec *klamm.Record, err error) error) host.Handler {
	return func(ctx context.Context, raw *klamm.Record) error {
		rec, err := deserialize(ctx, key, value, raw)
		if err != nil {
			return poison(ctx, raw, err)
		}
		return f(ctx, rec)
	}
}

func deserialize[K, V any](ctx context.Context, key Deserializer[K], value Deserializer[V], raw *klamm.Record) (*Record[K, V], error) {
	rec := &Record[K, V]{
		Topic: raw.Topic, Target: raw.Target, Headers: raw.Headers, Timestamp: raw.Timestamp,
		Partition: raw.Partition, Offset: raw.Offset, LeaderEpoch: raw.LeaderEpoch,
	}
	at := Field{Topic: raw.Topic, Key: true, Headers: raw.Headers}
	var err error
	if rec.Key, err = key.Deserialize(ctx, &at, raw.Key); err == nil {
		at.Key = false
		rec.Value, err = value.Deserialize(ctx, &at, raw.Value)
	}
	if err != nil {
		return nil, &Error{Topic: raw.Topic, Key: at.Key, Partition: raw.Partition, Offset: raw.Offset, Err: err}
	}
	return rec, nil
}
