package klamm

import "errors"

// ErrorClass is what a producer's caller can do about an error (KIP-1050).
type ErrorClass uint8

const (
	// ClassNone is the class of nil.
	ClassNone ErrorClass = iota
	// ClassRetriable: it may pass. Make the same call again, or send the record
	// again; where the error is an ErrOutcomeUnknown it may then be written twice.
	ClassRetriable
	// ClassAbortable: the transaction is lost, the producer is not. Abort it, then
	// do its work again.
	ClassAbortable
	// ClassFatal: the producer is lost. Close it and open a new one.
	ClassFatal
	// ClassApplication: trying again changes nothing. The record, the call or the
	// configuration is what must change.
	ClassApplication
)

var classNames = [...]string{"none", "retriable", "abortable", "fatal", "application"}

// String returns the class in one lower-case word.
func (c ErrorClass) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "unknown"
}

// ClassOf returns the class of an error of a producer. Of an error with several
// facts the gravest counts.
func ClassOf(err error) ErrorClass {
	var broker *BrokerError
	switch {
	case err == nil:
		return ClassNone
	case errors.Is(err, ErrFatal), errors.Is(err, ErrClosed):
		return ClassFatal
	case errors.Is(err, ErrAbortable), errors.Is(err, ErrTransactionAborted):
		return ClassAbortable
	case errors.Is(err, ErrTransactionState):
		return ClassApplication
	case errors.Is(err, ErrTimeout), errors.Is(err, ErrOutcomeUnknown), errors.Is(err, ErrBrokerUnreachable):
		return ClassRetriable
	case errors.As(err, &broker) && broker.Code.Retriable():
		return ClassRetriable
	}
	return ClassApplication
}
