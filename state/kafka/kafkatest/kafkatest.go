// Package kafkatest lets state/backendtest, which knows no transactions, test a
// state in Kafka.
package kafkatest

import (
	"github.com/klamm-io/klamm/state"
	"github.com/klamm-io/klamm/state/kafka"
)

// OneByOne makes each id of partition 0 a transaction of its own. Commit writes
// what it is given and returns the offset after the last record of each
// partition. Source of the Backend must answer partition 0.
type OneByOne struct {
	*kafka.Backend
	Commit func([]kafka.Write) (next map[int32]int64, err error)
}

type bucket struct {
	state.Bucket
	of     *OneByOne
	plugin string
}

// Bucket implements state.Backend.
func (o *OneByOne) Bucket(plugin string) state.Bucket {
	return &bucket{o.Backend.Bucket(plugin), o, plugin}
}

// Find implements state.Bucket.
func (u *bucket) Find(id state.ID, nowMS int64) (state.Position, bool, error) {
	return u.Bucket.(state.SourcedBucket).FindFor(1, id, nowMS)
}

// Remember implements state.Bucket.
func (u *bucket) Remember(id state.ID, at state.Position, expiresMS, nowMS int64) error {
	u.of.Stage(0, u.plugin, id, at, expiresMS)
	next, err := u.of.Commit(u.of.Take())
	if err != nil {
		return err
	}
	if err := u.Bucket.Remember(id, at, expiresMS, nowMS); err != nil {
		return err
	}
	u.of.Committed(next)
	return nil
}

// Close buries what has gone: the suite wants to find after a restart what was
// there before, and no less.
func (o *OneByOne) Close() error {
	next, err := o.Commit(o.Take())
	if err != nil {
		return err
	}
	o.Committed(next)
	return o.Backend.Close()
}
