package produce

import (
	"errors"
	"fmt"

	"github.com/klamm-io/klamm"
)

// FencedError is the end of a transactional producer whose epoch is not the last
// one any more. It is klamm.ErrFenced.
type FencedError struct {
	// Aged is that its transaction was older than transaction_timeout_ms: the
	// coordinator may have aborted it for that, and nobody else have come.
	Aged bool
	Err  error // the coordinator's
}

func (e *FencedError) Error() string {
	why := "another producer uses it now"
	if e.Aged {
		why += ", or its transaction timed out"
	}
	return fmt.Sprintf("%v: %s: %v", klamm.ErrFenced, why, e.Err)
}

func (e *FencedError) Unwrap() []error { return []error{klamm.ErrFenced, e.Err} }

// verb is what becomes of a batch after a broker's answer.
type verb uint8

const (
	// fail completes the batch with the error. If it had a sequence, that is a
	// hole now, and the partition goes on under a new producer epoch.
	fail verb = iota
	// succeed completes it with the answer's offset.
	succeed
	// succeedUnplaced completes it without an offset: the broker has had the
	// batch for so long that it no longer knows where.
	succeedUnplaced
	// retry sends the same bytes again after retry_backoff_ms.
	retry
	// reorder retries too; if it was the batch's turn it is a gap. See
	// partition.outOfOrder.
	reorder
	// restart retries under a new producer epoch, or within a transaction from
	// sequence 0: the broker has forgotten the producer. Without a log start offset it may not know yet: retry.
	restart
	// fence fails the batch, unless it was our own newer epoch that fenced it.
	fence
	// split sends the batch again in two halves; a single record fails.
	split
	// failAll fails every batch, and the pipeline takes no more.
	failAll
)

// rule is the answer to one error code.
type rule struct {
	do verb
	// refresh asks for metadata: the leader is not who we think.
	refresh bool
	// unclear: the batch may have been written nevertheless. If it is never
	// acknowledged its outcome is klamm.ErrOutcomeUnknown.
	unclear bool
}

// rules is the error table for produce answers to an idempotent producer; they
// hold for others as well, whose batches just have no sequence. Codes that are
// not named here are retried where Kafka's clients retry them, else they fail.
// What is retried ends with retries or delivery_timeout_ms.
var rules = map[klamm.Code]rule{
	klamm.CodeNone:                    {do: succeed},
	klamm.CodeDuplicateSequenceNumber: {do: succeedUnplaced},

	klamm.CodeNotLeaderForPartition:   {do: retry, refresh: true},
	klamm.CodeUnknownTopicOrPartition: {do: retry, refresh: true},
	klamm.CodeLeaderNotAvailable:      {do: retry, refresh: true},
	klamm.CodeReplicaNotAvailable:     {do: retry, refresh: true},
	klamm.CodeBrokerNotAvailable:      {do: retry, refresh: true},
	klamm.CodeFencedLeaderEpoch:       {do: retry, refresh: true},
	klamm.CodeUnknownLeaderEpoch:      {do: retry, refresh: true},
	klamm.CodeUnknownTopicId:          {do: retry, refresh: true},
	// The disk may have failed behind the append.
	klamm.CodeKafkaStorageError: {do: retry, refresh: true, unclear: true},

	klamm.CodeCorruptMessage:               {do: retry},
	klamm.CodeNotEnoughReplicas:            {do: retry},
	klamm.CodeThrottlingQuotaExceeded:      {do: retry},
	klamm.CodeNotEnoughReplicasAfterAppend: {do: retry, unclear: true},
	klamm.CodeRequestTimedOut:              {do: retry, unclear: true},
	// Ours: the connection broke, or request_timeout_ms passed.
	klamm.CodeNetworkException: {do: retry, refresh: true, unclear: true},

	klamm.CodeOutOfOrderSequenceNumber: {do: reorder},
	klamm.CodeUnknownProducerId:        {do: restart},
	klamm.CodeInvalidProducerEpoch:     {do: fence},

	klamm.CodeMessageTooLarge:    {do: split},
	klamm.CodeRecordListTooLarge: {do: split},

	klamm.CodeClusterAuthorizationFailed:         {do: failAll},
	klamm.CodeTransactionalIdAuthorizationFailed: {do: failAll},
	klamm.CodeProducerFenced:                     {do: failAll},
	klamm.CodeUnsupportedVersion:                 {do: failAll},

	// The broker met something it did not foresee, perhaps after the append.
	klamm.CodeUnknownServerError: {do: fail, unclear: true},
}

func ruleOf(c klamm.Code) rule {
	if r, ok := rules[c]; ok {
		return r
	}
	if c.Retriable() {
		return rule{do: retry}
	}
	return rule{do: fail}
}

// ruleFor is the rule for a batch. In a transaction fewer answers are repeated
// under another sequence: what is lost is done again in the next one.
func (p *Pipeline) ruleFor(c klamm.Code, b *batch) rule {
	r := ruleOf(c)
	if p.txn == nil {
		return r
	}
	switch {
	case c == klamm.CodeConcurrentTransactions:
		// The broker could not add the partition yet (KIP-890).
		return rule{do: retry}
	case r.do == fence:
		// Our transaction timed out, or we are fenced: the abort tells (KIP-588).
		return rule{do: fail}
	}
	return r
}

// failure names the batch in an error. maybe tells that the batch may be in the
// log.
func (b *batch) failure(maybe bool, err error) error {
	where := fmt.Sprintf("topic %q partition %d", b.part.topic.name, b.part.id)
	if b.header.transactional {
		// It is never seen: its transaction is not committed.
		if maybe && !errors.Is(err, klamm.ErrTransactionAborted) {
			return fmt.Errorf("%s: %w: %w", where, klamm.ErrAbortable, err)
		}
		return fmt.Errorf("%s: %w", where, err)
	}
	if maybe {
		return fmt.Errorf("%s: %w: %w", where, klamm.ErrOutcomeUnknown, err)
	}
	return fmt.Errorf("%s: %w", where, err)
}

// mayBeWritten reports whether a batch without an answer may be in the log.
func (b *batch) mayBeWritten() bool { return b.wire || b.maybeWritten }

// expiry is the error of a batch that delivery_timeout ended.
func (b *batch) expiry() error {
	p := b.part.pipeline
	what := fmt.Errorf("not acknowledged within delivery_timeout_ms %s", p.set.delivery)
	if !b.mayBeWritten() {
		what = fmt.Errorf("%w: not written within delivery_timeout_ms %s", klamm.ErrTimeout, p.set.delivery)
	}
	if cause := b.cause(); cause != nil {
		what = fmt.Errorf("%w: last: %w", what, cause)
	}
	return what
}

// cause tells why b is not written yet, nil if nothing went wrong.
func (b *batch) cause() error {
	p, t := b.part.pipeline, b.part
	switch {
	case b.wire:
		return fmt.Errorf("broker %d has not answered yet", t.wireAt.broker)
	case b.lastErr != nil:
		return b.lastErr
	case p.set.idempotent && p.identity.current() == nil && p.stuck.Load() != nil:
		return *p.stuck.Load()
	case t.owner == nil:
		return fmt.Errorf("the partition has no leader")
	case t.owner.trouble.Load() != nil:
		return *t.owner.trouble.Load()
	}
	return nil
}

// recordErrors makes the errors of single records (KIP-467): those that the
// broker names get its word, the others learn that they were in bad company
// and may be sent again as they are.
func recordErrors(b *batch, code klamm.Code, named []recordError) []error {
	if len(named) == 0 {
		return nil
	}
	innocent := b.failure(false, &klamm.BrokerError{Code: klamm.CodeInvalidRecord, Message: "not written because it was part of a batch with invalid records; it may be sent again"})
	errs := make([]error, b.header.count)
	for i := range errs {
		errs[i] = innocent
	}
	if len(named) > 1 {
		code = klamm.CodeInvalidRecord
	}
	for _, n := range named {
		if n.index >= 0 && n.index < b.header.count {
			errs[n.index] = b.failure(false, &klamm.BrokerError{Code: code, Message: n.message})
		}
	}
	return errs
}

// tooLarge explains MESSAGE_TOO_LARGE for a batch that cannot be split.
func (b *batch) tooLarge(code klamm.Code, message string) error {
	text := fmt.Sprintf("one record of %d bytes in a batch of %d: raise max.message.bytes of the topic (or message.max.bytes of the brokers), or send less", b.raw, b.size())
	if message != "" {
		text = message + "; " + text
	}
	return &klamm.BrokerError{Code: code, Message: text}
}
