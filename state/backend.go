package state

// Backend keeps what one state remembers: confirmed ids and values. What is in
// flight is the Ledger's alone and never reaches it.
//
// A Backend is called by one goroutine at a time, under the ledger's mutex, so
// it must not wait for a disk or a network in these calls.
type Backend interface {
	// Key is the key of the state's ids. It never changes, but for a backend that
	// learns it later: it is zero until then, and all claims are refused.
	Key() Key
	// Bucket returns the part that belongs to one plugin, always the same one.
	Bucket(plugin string) Bucket
	// Close gives back what the backend holds. It may be called twice.
	Close() error
}

// Bucket is one plugin's part of a Backend. Limits are the backend's: a bucket
// may push out what another one keeps.
type Bucket interface {
	// Find returns where the record stands that confirmed id, unless it has
	// expired. The error says that nobody knows.
	Find(id ID, nowMS int64) (at Position, ok bool, err error)
	// Remember confirms an id that Find did not find when it was claimed. (Nobody
	// else confirms it meanwhile: it was pending.) It is the newest from now
	// on; where it is one too many, the oldest goes. expiresMS is 0 for never.
	Remember(id ID, at Position, expiresMS, nowMS int64) error
	// Get returns the value of key. The caller must not change it, and may
	// keep it: later puts do not write into it.
	Get(key []byte, nowMS int64) (value []byte, ok bool, err error)
	// Put copies key and value. The oldest values go where it takes more than
	// the limit; a value that is larger than that alone is ErrValueTooLarge.
	Put(key, value []byte, expiresMS, nowMS int64) error
	// Usage tells what the bucket holds.
	Usage() Usage
}

// Usage is what a Bucket holds and has let go.
type Usage struct {
	Entries       int    // ids
	Values        int    // values
	Bytes         int64  // of values with keys and bookkeeping, as MaxBytes counts them
	Evictions     uint64 // ids that went because there were too many
	Expired       uint64 // ids that went by age
	ValuesEvicted uint64 // values that went because they took too much
}
