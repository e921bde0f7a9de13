package produce

import (
	"errors"
	"fmt"
	"time"

	"github.com/klamm-io/klamm/internal/config"
)

// settings are the producer's configuration as the pipeline uses it.
type settings struct {
	acks        int16
	idempotent  bool
	maxInFlight int
	retries     int

	linger     time.Duration
	delivery   time.Duration
	request    time.Duration
	backoff    backoff
	reconnect  backoff
	idle       time.Duration // after which a connection is closed; 0: never
	stalled    time.Duration // partitioner_availability_timeout_ms; 0: never
	batchSize  int
	maxRequest int
	memory     int64
	codec      codec
	level      int

	transactionalID string // "": no transactions
	// explicit: partitions are always added by us, as the transport speaks no
	// later protocol.
	explicit   bool
	txnTimeout time.Duration
}

// mutes reports whether a partition takes no second batch while one is on the
// wire. It keeps the order of a producer without sequence numbers.
func (s *settings) mutes() bool { return !s.idempotent && s.maxInFlight == 1 }

// newSettings checks what the pipeline's guarantees rest on, whoever built the
// configuration, and reports every problem.
func newSettings(c *config.Producer) (settings, error) {
	s := settings{
		acks:        int16(c.Acks),
		idempotent:  c.Idempotent(),
		maxInFlight: c.MaxInFlight,
		retries:     c.Retries,
		linger:      c.Linger.Std(),
		delivery:    c.DeliveryTimeout.Std(),
		request:     c.RequestTimeout.Std(),
		backoff:     backoff{first: c.RetryBackoff.Std(), max: c.RetryBackoffMax.Std()},
		stalled:     c.PartitionerAvailability.Std(),
		batchSize:   int(c.BatchSize),
		maxRequest:  int(c.MaxRequestSize),
		memory:      int64(c.BufferMemory),
		codec:       codec(c.Compression),
		level:       c.CompressionLevel,

		transactionalID: c.TransactionalID,
		explicit:        c.Transport == config.TransportSarama,
		txnTimeout:      c.TransactionTimeout.Std(),
	}
	return s, errors.Join(s.problems()...)
}

func (s *settings) problems() (all []error) {
	refuse := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	if s.idempotent {
		if s.acks != -1 {
			refuse("enable_idempotence = true needs acks = \"all\", not %d", s.acks)
		}
		if s.retries <= 0 {
			refuse("enable_idempotence = true needs retries above 0, not %d", s.retries)
		}
		if s.maxInFlight > 5 {
			refuse("enable_idempotence = true needs max_in_flight_requests_per_connection <= 5, not %d", s.maxInFlight)
		}
	}
	if s.transactionalID != "" && !s.idempotent {
		refuse("transactional_id %q needs enable_idempotence = true", s.transactionalID)
	}
	if s.transactionalID != "" && s.txnTimeout < time.Millisecond {
		refuse("transaction_timeout_ms must be 1ms or more, not %s", s.txnTimeout)
	}
	if s.acks < -1 || s.acks > 1 {
		refuse("acks must be 0, 1 or \"all\", not %d", s.acks)
	}
	if s.retries < 0 {
		refuse("retries must not be negative: %d", s.retries)
	}
	if s.maxInFlight < 1 {
		refuse("max_in_flight_requests_per_connection must be at least 1, not %d", s.maxInFlight)
	}
	if s.request <= 0 {
		refuse("request_timeout_ms must be above 0, not %s", s.request)
	}
	if s.linger < 0 {
		refuse("linger_ms must not be negative: %s", s.linger)
	}
	if s.delivery < s.linger+s.request {
		refuse("delivery_timeout_ms %s is shorter than linger_ms %s plus request_timeout_ms %s", s.delivery, s.linger, s.request)
	}
	if s.stalled < 0 {
		refuse("partitioner_availability_timeout_ms must not be negative: %s", s.stalled)
	}
	if s.memory <= 0 {
		refuse("buffer_memory must be above 0, not %d", s.memory)
	}
	if s.maxRequest <= batchOverhead || s.maxRequest > maxFrame {
		refuse("max_request_size must be between %d and %d, not %d", batchOverhead+1, maxFrame, s.maxRequest)
	}
	if s.batchSize < 0 {
		refuse("batch_size must not be negative: %d", s.batchSize)
	}
	if s.codec < codecNone || s.codec > codecZstd {
		refuse("compression_type %d is unknown", s.codec)
	}
	return all
}
