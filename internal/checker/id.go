package checker

import (
	"fmt"
	"strconv"
)

// ID names a record: its producer, its key, and how many records of that key
// the producer has sent before it.
type ID uint64

// The parts of an ID, and how many there may be of each.
const (
	Producers = 1 << 24
	Keys      = 1 << 16
	PerKey    = 1 << 24
)

// MakeID returns the id of the n-th record, from 0, of a producer's key. It
// panics on numbers that do not fit.
func MakeID(producer, key, n int) ID {
	if uint(producer) >= Producers || uint(key) >= Keys || uint(n) >= PerKey {
		panic(fmt.Sprintf("checker: id %d/%d/%d does not fit 24, 16 and 24 bits", producer, key, n))
	}
	return ID(producer)<<40 | ID(key)<<24 | ID(n)
}

// Producer returns who sent the record.
func (id ID) Producer() int { return int(id >> 40) }

// Key returns the number of the record's key.
func (id ID) Key() int { return int(id>>24) & (Keys - 1) }

// N returns the record's place among those of its producer and key.
func (id ID) N() int { return int(id) & (PerKey - 1) }

// series is the part of an id that all records of a producer and key share.
func (id ID) series() uint64 { return uint64(id >> 24) }

// String returns producer/key/n.
func (id ID) String() string {
	return fmt.Sprintf("%d/%d/%d", id.Producer(), id.Key(), id.N())
}

// appendKey appends the bytes of the record's Kafka key.
func (id ID) appendKey(b []byte) []byte { return strconv.AppendUint(append(b, 'k'), id.series(), 16) }
