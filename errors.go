package klamm

import (
	"errors"
	"fmt"
	"strings"
)

// Facts that a caller may ask for with errors.Is.
var (
	// ErrClosed: the producer, consumer or host was closed. Open a new one.
	ErrClosed = errors.New("closed")
	// ErrTimeout: a time limit of the configuration passed before the record
	// was sent (max_block, delivery_timeout). The record was not written.
	ErrTimeout = errors.New("timed out")
	// ErrOutcomeUnknown: the record was sent and no answer came within
	// delivery_timeout. It may or may not be in the log; read before sending
	// it again if a duplicate would hurt.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrBufferFull: no buffer memory or acknowledgement slot became free within
	// max_block. Send slower, or raise buffer_memory. It is an ErrTimeout too.
	ErrBufferFull = fmt.Errorf("buffer full: %w", ErrTimeout)
	// ErrRecordTooLarge: the record alone exceeds max_request_size, buffer_memory
	// or the broker's limit.
	ErrRecordTooLarge = errors.New("record too large")
	// ErrInvalidTopic: Kafka does not allow that topic name.
	ErrInvalidTopic = errors.New("invalid topic name")
	// ErrUnknownTopic: the topic does not exist and may not be created.
	ErrUnknownTopic = errors.New("unknown topic")
	// ErrInvalidPartition: the partition is negative or the topic has fewer.
	ErrInvalidPartition = errors.New("invalid partition")
	// ErrFenced: another producer with the same identity took over. It is an
	// ErrFatal too.
	ErrFenced = fmt.Errorf("fenced: %w", ErrFatal)
	// ErrFatal: the producer can write nothing any more. Close it and open a new
	// one.
	ErrFatal = errors.New("fatal")
	// ErrAbortable: the transaction cannot be committed. Abort it, then do its
	// work again.
	ErrAbortable = errors.New("the transaction must be aborted")
	// ErrTransactionAborted: the record was not written, because its transaction
	// was aborted first. Send it again in another one (KIP-654).
	ErrTransactionAborted = errors.New("transaction aborted")
	// ErrTransactionState: the call is not allowed in the state that the
	// transaction is in, such as a Send outside of one. Nothing has changed.
	ErrTransactionState = errors.New("not allowed in this state of the transaction")
	// ErrDuplicatePending: the record's id belongs to a record in flight outside
	// of this transaction, and no transaction waits for another. Abort this one
	// and send its records again. It is an ErrAbortable too.
	ErrDuplicatePending = fmt.Errorf("a duplicate is in flight outside of the transaction: %w", ErrAbortable)
	// ErrBrokerUnreachable: no broker could be reached or let us in.
	ErrBrokerUnreachable = errors.New("no broker reachable")
	// ErrTopicRefused: a plugin chose a topic that its configuration does not
	// allow, or that no plugin may write to.
	ErrTopicRefused = errors.New("topic refused")
	// ErrBreakerOpen: a plugin has failed too often and is not called for now.
	ErrBreakerOpen = errors.New("circuit breaker open")
)

// PluginError is the error of a record that a plugin failed, by its verdict or
// by a fault (trap, deadline, nonsense). Err is the cause.
type PluginError struct {
	Plugin string // name in the configuration
	Hook   string // "on_send", ...
	Err    error
}

func (e *PluginError) Error() string {
	text := fmt.Sprintf("plugin %q: %s", e.Plugin, e.Hook)
	if cause := e.Cause(); cause != "" {
		text += ": " + cause
	}
	return text
}

// Cause is the text of Err without the plugin's name in front, which errors of a
// sandbox start with. It is "" where Err is nil.
func (e *PluginError) Cause() string {
	if e.Err == nil {
		return ""
	}
	return strings.TrimPrefix(e.Err.Error(), fmt.Sprintf("plugin %q: ", e.Plugin))
}

func (e *PluginError) Unwrap() error { return e.Err }
