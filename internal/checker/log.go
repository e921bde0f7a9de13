package checker

import "context"

// Isolation is what a reader sees of transactions.
type Isolation uint8

const (
	Uncommitted Isolation = iota
	Committed
)

// Log is a topic as it is read back.
type Log interface {
	// Read calls each with every record from the first to the end, in the order
	// of offsets within each partition, and returns the offsets after the last
	// one of each partition. An error of each ends it.
	Read(ctx context.Context, i Isolation, each func(*Seen) error) (ends map[int32]int64, err error)
}

// Seen is a record in the log.
type Seen struct {
	Partition int32
	Offset    int64
	Payload
	// Problem says what is wrong with the record's bytes, nil if nothing is.
	Problem error
	// ProducerID and Epoch are -1 for records without idempotence.
	ProducerID int64
	Epoch      int16
}

// Snapshot is what a log held at an earlier time. An offset keeps its record for
// ever, so that a later reading must agree.
type Snapshot map[int32][]snapshotEntry

type snapshotEntry struct {
	offset int64
	id     ID
}

// TakeSnapshot reads the log, uncommitted, as it is now.
func TakeSnapshot(ctx context.Context, l Log) (Snapshot, error) {
	s := Snapshot{}
	_, err := l.Read(ctx, Uncommitted, func(r *Seen) error {
		s[r.Partition] = append(s[r.Partition], snapshotEntry{r.Offset, r.ID})
		return nil
	})
	return s, err
}
