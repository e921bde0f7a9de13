package kafkaerrors

import (
	"slices"

	"github.com/klamm-io/klamm"
)

// own are Klamm's own errors. Buffer full stands before timeout, which it is
// too.
var own = []Entry{
	{
		Name: "ErrClosed", Class: Fatal, Err: klamm.ErrClosed,
		Cause: "the producer, consumer or host was closed",
		Do:    "open a new one",
		Klamm: "accepts nothing more and runs no plugin",
	},
	{
		Name: "ErrBufferFull", Class: Application, Err: klamm.ErrBufferFull,
		Cause: "no buffer memory or acknowledgement slot became free within max_block_ms; the record was not accepted",
		Do:    "send slower, raise buffer_memory, or look why the brokers are slow",
		Klamm: "lets waiting senders in as they came",
	},
	{
		Name: "ErrTimeout", Class: Application, Err: klamm.ErrTimeout,
		Cause: "max_block_ms or delivery_timeout_ms passed before the record was written; it is not in the log",
		Do:    "look at the brokers; send it again if it still matters",
		Klamm: "fails the record and releases the ids that were claimed for it",
	},
	{
		Name: "ErrOutcomeUnknown", Class: Application, Err: klamm.ErrOutcomeUnknown,
		Cause: "the record was sent and no answer came within delivery_timeout_ms; it may be in the log",
		Do:    "read the topic before sending it again where a duplicate would hurt",
		Klamm: "fails the record; on_unknown of the plugin decides about the ids that were claimed for it",
	},
	{
		Name: "ErrRecordTooLarge", Class: Application, Err: klamm.ErrRecordTooLarge,
		Cause: "the record alone exceeds max_request_size, buffer_memory or the broker's limit",
		Do:    "raise max_request_size and max.message.bytes of the topic, or send smaller records",
		Klamm: "fails the record; others of its batch are written",
	},
	{
		Name: "ErrInvalidTopic", Class: Application, Err: klamm.ErrInvalidTopic,
		Cause: "Kafka does not allow that topic name",
		Do:    "use at most 249 of the letters a-z A-Z 0-9 . _ -; \".\" and \"..\" are no names",
		Klamm: "fails the record without asking a broker",
	},
	{
		Name: "ErrUnknownTopic", Class: Configuration, Err: klamm.ErrUnknownTopic,
		Cause: "the topic does not exist and may not be created",
		Do:    "klamm topic create TOPIC, or set allow_auto_create_topics = true in [cluster] if the brokers' auto.create.topics.enable is too",
		Klamm: "asks for 5 s, then fails the record",
	},
	{
		Name: "ErrInvalidPartition", Class: Application, Err: klamm.ErrInvalidPartition,
		Cause: "the partition is negative, or the topic has fewer",
		Do:    "klamm topic describe TOPIC tells how many there are",
		Klamm: "fails the record; where a plugin chose it, partitioner_on_error decides",
	},
	{
		Name: "ErrFenced", Class: Fatal, Err: klamm.ErrFenced,
		Cause: "another producer with the same identity took over",
		Do:    "give each host its own [host] id",
		Klamm: "fails what is buffered and what follows",
	},
	{
		Name: "ErrTransactionAborted", Class: Abortable, Err: klamm.ErrTransactionAborted,
		Cause: "the record was not written, because its transaction was aborted first",
		Do:    "send it again in another transaction",
		Klamm: "fails the record and releases the ids that were claimed for it",
	},
	{
		Name: "ErrTransactionState", Class: Application, Err: klamm.ErrTransactionState,
		Cause: "the call is not allowed in the state that the transaction is in, such as a Send outside of one",
		Do:    "begin, send, then commit or abort; repeat a commit or an abort that timed out",
		Klamm: "refuses the call and changes nothing",
	},
	{
		Name: "ErrDuplicatePending", Class: Abortable, Err: klamm.ErrDuplicatePending,
		Cause: "the record's id belongs to a record in flight outside of this transaction",
		Do:    "abort the transaction and send its records again",
		Klamm: "fails the record: no transaction waits for another",
	},
	{
		Name: "ErrAbortable", Class: Abortable, Err: klamm.ErrAbortable,
		Cause: "the transaction cannot be committed; the error's text tells why",
		Do:    "abort it, then do its work again",
		Klamm: "fails what was not sent, and refuses the commit",
	},
	{
		Name: "ErrFatal", Class: Fatal, Err: klamm.ErrFatal,
		Cause: "the producer can write nothing any more; the error's text tells why",
		Do:    "close it and open a new one",
		Klamm: "fails what is buffered and what follows",
	},
	{
		Name: "ErrBrokerUnreachable", Class: Configuration, Err: klamm.ErrBrokerUnreachable,
		Cause: "no broker could be reached, or none let us in",
		Do:    "check bootstrap_servers, [cluster.tls] and [cluster.sasl]; klamm broker starts one to try with",
		Klamm: "names each address and why it failed; commands end with exit code 4",
	},
	{
		Name: "ErrTopicRefused", Class: Application, Err: klamm.ErrTopicRefused,
		Cause: "a plugin chose a topic that its configuration does not allow, or that no plugin may write to",
		Do:    "list the topic in topics of [plugin.NAME]",
		Klamm: "takes it as the plugin's fault: on_error decides",
	},
	{
		Name: "ErrBreakerOpen", Class: Application, Err: klamm.ErrBreakerOpen,
		Cause: "the plugin has failed too often and is not called for now",
		Do:    "look at its log lines; [plugins.breaker] holds the limits",
		Klamm: "applies on_error without the call, and tries the plugin again after the cooldown",
	},
}

// Own returns the entries of Klamm's own errors.
func Own() []Entry { return slices.Clone(own) }

// ExitCode is what a klamm command ends with.
type ExitCode struct {
	Code    int
	Meaning string
}

// ExitCodes returns them in their order.
func ExitCodes() []ExitCode {
	return []ExitCode{
		{0, "Everything went well."},
		{1, "The command ran and failed, in whole or in part: some records were not written, a test failed."},
		{2, "The command line is wrong."},
		{3, "The configuration is wrong. Each mistake is told with its line."},
		{4, "No broker could be reached, or none let us in."},
		{5, "A plugin could not be loaded, or failed."},
		{130, "It was interrupted (Ctrl-C, SIGTERM)."},
	}
}

// AckCode is an error that on_acknowledgement plugins see where Kafka has no
// code: docs/abi.md calls it the entry's error.
type AckCode struct {
	Code    int32
	Meaning string
}

// AckCodes returns them, from -1 down.
func AckCodes() []AckCode {
	return []AckCode{
		{-1, "outcome unknown: sent, no answer (ErrOutcomeUnknown)"},
		{-2, "timed out before it was written (ErrTimeout)"},
		{-3, "no buffer memory (ErrBufferFull)"},
		{-4, "closed (ErrClosed)"},
		{-5, "a plugin failed it"},
		{-6, "its transaction was aborted"},
		{-7, "anything else that is not the broker's"},
	}
}

// aliases are the names that codes have, or had, elsewhere: older and newer
// protocol guides, Java's exceptions, sarama, franz-go.
var aliases = map[string]klamm.Code{
	"UNKNOWN":                              klamm.CodeUnknownServerError,
	"UnknownServerException":               klamm.CodeUnknownServerError,
	"ErrNoError":                           klamm.CodeNone,
	"CorruptRecordException":               klamm.CodeCorruptMessage,
	"ErrInvalidMessage":                    klamm.CodeCorruptMessage,
	"ErrInvalidMessageSize":                klamm.CodeInvalidFetchSize,
	"NOT_LEADER_OR_FOLLOWER":               klamm.CodeNotLeaderForPartition,
	"TimeoutException":                     klamm.CodeRequestTimedOut,
	"RecordTooLargeException":              klamm.CodeMessageTooLarge,
	"ErrMessageSizeTooLarge":               klamm.CodeMessageTooLarge,
	"RecordBatchTooLargeException":         klamm.CodeRecordListTooLarge,
	"ErrMessageSetSizeTooLarge":            klamm.CodeRecordListTooLarge,
	"ControllerMovedException":             klamm.CodeStaleControllerEpoch,
	"DisconnectException":                  klamm.CodeNetworkException,
	"GROUP_LOAD_IN_PROGRESS":               klamm.CodeCoordinatorLoadInProgress,
	"ErrOffsetsLoadInProgress":             klamm.CodeCoordinatorLoadInProgress,
	"GROUP_COORDINATOR_NOT_AVAILABLE":      klamm.CodeCoordinatorNotAvailable,
	"ErrConsumerCoordinatorNotAvailable":   klamm.CodeCoordinatorNotAvailable,
	"NOT_COORDINATOR_FOR_GROUP":            klamm.CodeNotCoordinator,
	"ErrNotCoordinatorForConsumer":         klamm.CodeNotCoordinator,
	"TopicExistsException":                 klamm.CodeTopicAlreadyExists,
	"InvalidConfigurationException":        klamm.CodeInvalidConfig,
	"OutOfOrderSequenceException":          klamm.CodeOutOfOrderSequenceNumber,
	"DuplicateSequenceException":           klamm.CodeDuplicateSequenceNumber,
	"InvalidTxnTimeoutException":           klamm.CodeInvalidTransactionTimeout,
	"InvalidPidMappingException":           klamm.CodeInvalidProducerIdMapping,
	"FENCED_INSTANCE":                      klamm.CodeFencedInstanceId,
	"UnsupportedByAuthenticationException": klamm.CodeDelegationTokenRequestNotAllowed,
	"GroupNotEmptyException":               klamm.CodeNonEmptyGroup,
}

func sortedAliases() []string {
	names := make([]string, 0, len(aliases))
	for name := range aliases {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
