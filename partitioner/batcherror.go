package partitioner

import (
	"errors"
	"fmt"
)

// BatchError is what PartitionBatch returns when some of the records fail.
type BatchError struct {
	// Errs has one entry for each record, nil for those that do not fail.
	Errs []error
}

func (e *BatchError) Error() string {
	failed, first := 0, error(nil)
	for _, err := range e.Errs {
		if err != nil {
			if failed++; first == nil {
				first = err
			}
		}
	}
	return fmt.Sprintf("%d of %d records not partitioned, the first: %v", failed, len(e.Errs), first)
}

// Unwrap returns the errors of the records that fail.
func (e *BatchError) Unwrap() []error {
	var errs []error
	for _, err := range e.Errs {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// RecordError returns why record i of a PartitionBatch fails, out of the error
// that it returned.
func RecordError(err error, i int) error {
	var batch *BatchError
	if errors.As(err, &batch) && i < len(batch.Errs) {
		return batch.Errs[i]
	}
	return err
}
