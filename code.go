package klamm

import "strconv"

// Code is a Kafka error code, as brokers answer it. Zero is success.
//
// The codes and names are those of Kafka's protocol guide
// (https://kafka.apache.org/protocol#protocol_error_codes).
type Code int16

// CodeNone is Kafka's "no error".
const CodeNone Code = 0

// Kafka's error codes.
const (
	CodeUnknownServerError                     Code = -1
	CodeOffsetOutOfRange                       Code = 1
	CodeCorruptMessage                         Code = 2
	CodeUnknownTopicOrPartition                Code = 3
	CodeInvalidFetchSize                       Code = 4
	CodeLeaderNotAvailable                     Code = 5
	CodeNotLeaderForPartition                  Code = 6
	CodeRequestTimedOut                        Code = 7
	CodeBrokerNotAvailable                     Code = 8
	CodeReplicaNotAvailable                    Code = 9
	CodeMessageTooLarge                        Code = 10
	CodeStaleControllerEpoch                   Code = 11
	CodeOffsetMetadataTooLarge                 Code = 12
	CodeNetworkException                       Code = 13
	CodeCoordinatorLoadInProgress              Code = 14
	CodeCoordinatorNotAvailable                Code = 15
	CodeNotCoordinator                         Code = 16
	CodeInvalidTopicException                  Code = 17
	CodeRecordListTooLarge                     Code = 18
	CodeNotEnoughReplicas                      Code = 19
	CodeNotEnoughReplicasAfterAppend           Code = 20
	CodeInvalidRequiredAcks                    Code = 21
	CodeIllegalGeneration                      Code = 22
	CodeInconsistentGroupProtocol              Code = 23
	CodeInvalidGroupId                         Code = 24
	CodeUnknownMemberId                        Code = 25
	CodeInvalidSessionTimeout                  Code = 26
	CodeRebalanceInProgress                    Code = 27
	CodeInvalidCommitOffsetSize                Code = 28
	CodeTopicAuthorizationFailed               Code = 29
	CodeGroupAuthorizationFailed               Code = 30
	CodeClusterAuthorizationFailed             Code = 31
	CodeInvalidTimestamp                       Code = 32
	CodeUnsupportedSaslMechanism               Code = 33
	CodeIllegalSaslState                       Code = 34
	CodeUnsupportedVersion                     Code = 35
	CodeTopicAlreadyExists                     Code = 36
	CodeInvalidPartitions                      Code = 37
	CodeInvalidReplicationFactor               Code = 38
	CodeInvalidReplicaAssignment               Code = 39
	CodeInvalidConfig                          Code = 40
	CodeNotController                          Code = 41
	CodeInvalidRequest                         Code = 42
	CodeUnsupportedForMessageFormat            Code = 43
	CodePolicyViolation                        Code = 44
	CodeOutOfOrderSequenceNumber               Code = 45
	CodeDuplicateSequenceNumber                Code = 46
	CodeInvalidProducerEpoch                   Code = 47
	CodeInvalidTxnState                        Code = 48
	CodeInvalidProducerIdMapping               Code = 49
	CodeInvalidTransactionTimeout              Code = 50
	CodeConcurrentTransactions                 Code = 51
	CodeTransactionCoordinatorFenced           Code = 52
	CodeTransactionalIdAuthorizationFailed     Code = 53
	CodeSecurityDisabled                       Code = 54
	CodeOperationNotAttempted                  Code = 55
	CodeKafkaStorageError                      Code = 56
	CodeLogDirNotFound                         Code = 57
	CodeSaslAuthenticationFailed               Code = 58
	CodeUnknownProducerId                      Code = 59
	CodeReassignmentInProgress                 Code = 60
	CodeDelegationTokenAuthDisabled            Code = 61
	CodeDelegationTokenNotFound                Code = 62
	CodeDelegationTokenOwnerMismatch           Code = 63
	CodeDelegationTokenRequestNotAllowed       Code = 64
	CodeDelegationTokenAuthorizationFailed     Code = 65
	CodeDelegationTokenExpired                 Code = 66
	CodeInvalidPrincipalType                   Code = 67
	CodeNonEmptyGroup                          Code = 68
	CodeGroupIdNotFound                        Code = 69
	CodeFetchSessionIdNotFound                 Code = 70
	CodeInvalidFetchSessionEpoch               Code = 71
	CodeListenerNotFound                       Code = 72
	CodeTopicDeletionDisabled                  Code = 73
	CodeFencedLeaderEpoch                      Code = 74
	CodeUnknownLeaderEpoch                     Code = 75
	CodeUnsupportedCompressionType             Code = 76
	CodeStaleBrokerEpoch                       Code = 77
	CodeOffsetNotAvailable                     Code = 78
	CodeMemberIdRequired                       Code = 79
	CodePreferredLeaderNotAvailable            Code = 80
	CodeGroupMaxSizeReached                    Code = 81
	CodeFencedInstanceId                       Code = 82
	CodeEligibleLeadersNotAvailable            Code = 83
	CodeElectionNotNeeded                      Code = 84
	CodeNoReassignmentInProgress               Code = 85
	CodeGroupSubscribedToTopic                 Code = 86
	CodeInvalidRecord                          Code = 87
	CodeUnstableOffsetCommit                   Code = 88
	CodeThrottlingQuotaExceeded                Code = 89
	CodeProducerFenced                         Code = 90
	CodeResourceNotFound                       Code = 91
	CodeDuplicateResource                      Code = 92
	CodeUnacceptableCredential                 Code = 93
	CodeInconsistentVoterSet                   Code = 94
	CodeInvalidUpdateVersion                   Code = 95
	CodeFeatureUpdateFailed                    Code = 96
	CodePrincipalDeserializationFailure        Code = 97
	CodeSnapshotNotFound                       Code = 98
	CodePositionOutOfRange                     Code = 99
	CodeUnknownTopicId                         Code = 100
	CodeDuplicateBrokerRegistration            Code = 101
	CodeBrokerIdNotRegistered                  Code = 102
	CodeInconsistentTopicId                    Code = 103
	CodeInconsistentClusterId                  Code = 104
	CodeTransactionalIdNotFound                Code = 105
	CodeFetchSessionTopicIdError               Code = 106
	CodeIneligibleReplica                      Code = 107
	CodeNewLeaderElected                       Code = 108
	CodeOffsetMovedToTieredStorage             Code = 109
	CodeFencedMemberEpoch                      Code = 110
	CodeUnreleasedInstanceId                   Code = 111
	CodeUnsupportedAssignor                    Code = 112
	CodeStaleMemberEpoch                       Code = 113
	CodeMismatchedEndpointType                 Code = 114
	CodeUnsupportedEndpointType                Code = 115
	CodeUnknownControllerId                    Code = 116
	CodeUnknownSubscriptionId                  Code = 117
	CodeTelemetryTooLarge                      Code = 118
	CodeInvalidRegistration                    Code = 119
	CodeTransactionAbortable                   Code = 120
	CodeInvalidRecordState                     Code = 121
	CodeShareSessionNotFound                   Code = 122
	CodeInvalidShareSessionEpoch               Code = 123
	CodeFencedStateEpoch                       Code = 124
	CodeInvalidVoterKey                        Code = 125
	CodeDuplicateVoter                         Code = 126
	CodeVoterNotFound                          Code = 127
	CodeInvalidRegularExpression               Code = 128
	CodeRebootstrapRequired                    Code = 129
	CodeStreamsInvalidTopology                 Code = 130
	CodeStreamsInvalidTopologyEpoch            Code = 131
	CodeStreamsTopologyFenced                  Code = 132
	CodeShareSessionLimitReached               Code = 133
	CodeGroupDeletionFailed                    Code = 134
	CodeStreamsTopologyDescriptionUpdateFailed Code = 135
	CodeControllerIdNotRegistered              Code = 136
)

type codeFacts struct {
	name      string
	retriable bool
}

var codes = map[Code]codeFacts{
	CodeNone:                                   {"NONE", false},
	CodeUnknownServerError:                     {"UNKNOWN_SERVER_ERROR", false},
	CodeOffsetOutOfRange:                       {"OFFSET_OUT_OF_RANGE", false},
	CodeCorruptMessage:                         {"CORRUPT_MESSAGE", true},
	CodeUnknownTopicOrPartition:                {"UNKNOWN_TOPIC_OR_PARTITION", true},
	CodeInvalidFetchSize:                       {"INVALID_FETCH_SIZE", false},
	CodeLeaderNotAvailable:                     {"LEADER_NOT_AVAILABLE", true},
	CodeNotLeaderForPartition:                  {"NOT_LEADER_FOR_PARTITION", true},
	CodeRequestTimedOut:                        {"REQUEST_TIMED_OUT", true},
	CodeBrokerNotAvailable:                     {"BROKER_NOT_AVAILABLE", true},
	CodeReplicaNotAvailable:                    {"REPLICA_NOT_AVAILABLE", true},
	CodeMessageTooLarge:                        {"MESSAGE_TOO_LARGE", false},
	CodeStaleControllerEpoch:                   {"STALE_CONTROLLER_EPOCH", false},
	CodeOffsetMetadataTooLarge:                 {"OFFSET_METADATA_TOO_LARGE", false},
	CodeNetworkException:                       {"NETWORK_EXCEPTION", true},
	CodeCoordinatorLoadInProgress:              {"COORDINATOR_LOAD_IN_PROGRESS", true},
	CodeCoordinatorNotAvailable:                {"COORDINATOR_NOT_AVAILABLE", true},
	CodeNotCoordinator:                         {"NOT_COORDINATOR", true},
	CodeInvalidTopicException:                  {"INVALID_TOPIC_EXCEPTION", false},
	CodeRecordListTooLarge:                     {"RECORD_LIST_TOO_LARGE", false},
	CodeNotEnoughReplicas:                      {"NOT_ENOUGH_REPLICAS", true},
	CodeNotEnoughReplicasAfterAppend:           {"NOT_ENOUGH_REPLICAS_AFTER_APPEND", true},
	CodeInvalidRequiredAcks:                    {"INVALID_REQUIRED_ACKS", false},
	CodeIllegalGeneration:                      {"ILLEGAL_GENERATION", false},
	CodeInconsistentGroupProtocol:              {"INCONSISTENT_GROUP_PROTOCOL", false},
	CodeInvalidGroupId:                         {"INVALID_GROUP_ID", false},
	CodeUnknownMemberId:                        {"UNKNOWN_MEMBER_ID", false},
	CodeInvalidSessionTimeout:                  {"INVALID_SESSION_TIMEOUT", false},
	CodeRebalanceInProgress:                    {"REBALANCE_IN_PROGRESS", false},
	CodeInvalidCommitOffsetSize:                {"INVALID_COMMIT_OFFSET_SIZE", false},
	CodeTopicAuthorizationFailed:               {"TOPIC_AUTHORIZATION_FAILED", false},
	CodeGroupAuthorizationFailed:               {"GROUP_AUTHORIZATION_FAILED", false},
	CodeClusterAuthorizationFailed:             {"CLUSTER_AUTHORIZATION_FAILED", false},
	CodeInvalidTimestamp:                       {"INVALID_TIMESTAMP", false},
	CodeUnsupportedSaslMechanism:               {"UNSUPPORTED_SASL_MECHANISM", false},
	CodeIllegalSaslState:                       {"ILLEGAL_SASL_STATE", false},
	CodeUnsupportedVersion:                     {"UNSUPPORTED_VERSION", false},
	CodeTopicAlreadyExists:                     {"TOPIC_ALREADY_EXISTS", false},
	CodeInvalidPartitions:                      {"INVALID_PARTITIONS", false},
	CodeInvalidReplicationFactor:               {"INVALID_REPLICATION_FACTOR", false},
	CodeInvalidReplicaAssignment:               {"INVALID_REPLICA_ASSIGNMENT", false},
	CodeInvalidConfig:                          {"INVALID_CONFIG", false},
	CodeNotController:                          {"NOT_CONTROLLER", true},
	CodeInvalidRequest:                         {"INVALID_REQUEST", false},
	CodeUnsupportedForMessageFormat:            {"UNSUPPORTED_FOR_MESSAGE_FORMAT", false},
	CodePolicyViolation:                        {"POLICY_VIOLATION", false},
	CodeOutOfOrderSequenceNumber:               {"OUT_OF_ORDER_SEQUENCE_NUMBER", false},
	CodeDuplicateSequenceNumber:                {"DUPLICATE_SEQUENCE_NUMBER", false},
	CodeInvalidProducerEpoch:                   {"INVALID_PRODUCER_EPOCH", false},
	CodeInvalidTxnState:                        {"INVALID_TXN_STATE", false},
	CodeInvalidProducerIdMapping:               {"INVALID_PRODUCER_ID_MAPPING", false},
	CodeInvalidTransactionTimeout:              {"INVALID_TRANSACTION_TIMEOUT", false},
	CodeConcurrentTransactions:                 {"CONCURRENT_TRANSACTIONS", false},
	CodeTransactionCoordinatorFenced:           {"TRANSACTION_COORDINATOR_FENCED", false},
	CodeTransactionalIdAuthorizationFailed:     {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false},
	CodeSecurityDisabled:                       {"SECURITY_DISABLED", false},
	CodeOperationNotAttempted:                  {"OPERATION_NOT_ATTEMPTED", false},
	CodeKafkaStorageError:                      {"KAFKA_STORAGE_ERROR", true},
	CodeLogDirNotFound:                         {"LOG_DIR_NOT_FOUND", false},
	CodeSaslAuthenticationFailed:               {"SASL_AUTHENTICATION_FAILED", false},
	CodeUnknownProducerId:                      {"UNKNOWN_PRODUCER_ID", false},
	CodeReassignmentInProgress:                 {"REASSIGNMENT_IN_PROGRESS", false},
	CodeDelegationTokenAuthDisabled:            {"DELEGATION_TOKEN_AUTH_DISABLED", false},
	CodeDelegationTokenNotFound:                {"DELEGATION_TOKEN_NOT_FOUND", false},
	CodeDelegationTokenOwnerMismatch:           {"DELEGATION_TOKEN_OWNER_MISMATCH", false},
	CodeDelegationTokenRequestNotAllowed:       {"DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", false},
	CodeDelegationTokenAuthorizationFailed:     {"DELEGATION_TOKEN_AUTHORIZATION_FAILED", false},
	CodeDelegationTokenExpired:                 {"DELEGATION_TOKEN_EXPIRED", false},
	CodeInvalidPrincipalType:                   {"INVALID_PRINCIPAL_TYPE", false},
	CodeNonEmptyGroup:                          {"NON_EMPTY_GROUP", false},
	CodeGroupIdNotFound:                        {"GROUP_ID_NOT_FOUND", false},
	CodeFetchSessionIdNotFound:                 {"FETCH_SESSION_ID_NOT_FOUND", true},
	CodeInvalidFetchSessionEpoch:               {"INVALID_FETCH_SESSION_EPOCH", true},
	CodeListenerNotFound:                       {"LISTENER_NOT_FOUND", true},
	CodeTopicDeletionDisabled:                  {"TOPIC_DELETION_DISABLED", false},
	CodeFencedLeaderEpoch:                      {"FENCED_LEADER_EPOCH", true},
	CodeUnknownLeaderEpoch:                     {"UNKNOWN_LEADER_EPOCH", true},
	CodeUnsupportedCompressionType:             {"UNSUPPORTED_COMPRESSION_TYPE", false},
	CodeStaleBrokerEpoch:                       {"STALE_BROKER_EPOCH", false},
	CodeOffsetNotAvailable:                     {"OFFSET_NOT_AVAILABLE", true},
	CodeMemberIdRequired:                       {"MEMBER_ID_REQUIRED", false},
	CodePreferredLeaderNotAvailable:            {"PREFERRED_LEADER_NOT_AVAILABLE", true},
	CodeGroupMaxSizeReached:                    {"GROUP_MAX_SIZE_REACHED", false},
	CodeFencedInstanceId:                       {"FENCED_INSTANCE_ID", false},
	CodeEligibleLeadersNotAvailable:            {"ELIGIBLE_LEADERS_NOT_AVAILABLE", true},
	CodeElectionNotNeeded:                      {"ELECTION_NOT_NEEDED", true},
	CodeNoReassignmentInProgress:               {"NO_REASSIGNMENT_IN_PROGRESS", false},
	CodeGroupSubscribedToTopic:                 {"GROUP_SUBSCRIBED_TO_TOPIC", false},
	CodeInvalidRecord:                          {"INVALID_RECORD", false},
	CodeUnstableOffsetCommit:                   {"UNSTABLE_OFFSET_COMMIT", true},
	CodeThrottlingQuotaExceeded:                {"THROTTLING_QUOTA_EXCEEDED", true},
	CodeProducerFenced:                         {"PRODUCER_FENCED", false},
	CodeResourceNotFound:                       {"RESOURCE_NOT_FOUND", false},
	CodeDuplicateResource:                      {"DUPLICATE_RESOURCE", false},
	CodeUnacceptableCredential:                 {"UNACCEPTABLE_CREDENTIAL", false},
	CodeInconsistentVoterSet:                   {"INCONSISTENT_VOTER_SET", false},
	CodeInvalidUpdateVersion:                   {"INVALID_UPDATE_VERSION", false},
	CodeFeatureUpdateFailed:                    {"FEATURE_UPDATE_FAILED", false},
	CodePrincipalDeserializationFailure:        {"PRINCIPAL_DESERIALIZATION_FAILURE", false},
	CodeSnapshotNotFound:                       {"SNAPSHOT_NOT_FOUND", false},
	CodePositionOutOfRange:                     {"POSITION_OUT_OF_RANGE", false},
	CodeUnknownTopicId:                         {"UNKNOWN_TOPIC_ID", true},
	CodeDuplicateBrokerRegistration:            {"DUPLICATE_BROKER_REGISTRATION", false},
	CodeBrokerIdNotRegistered:                  {"BROKER_ID_NOT_REGISTERED", false},
	CodeInconsistentTopicId:                    {"INCONSISTENT_TOPIC_ID", true},
	CodeInconsistentClusterId:                  {"INCONSISTENT_CLUSTER_ID", false},
	CodeTransactionalIdNotFound:                {"TRANSACTIONAL_ID_NOT_FOUND", false},
	CodeFetchSessionTopicIdError:               {"FETCH_SESSION_TOPIC_ID_ERROR", true},
	CodeIneligibleReplica:                      {"INELIGIBLE_REPLICA", false},
	CodeNewLeaderElected:                       {"NEW_LEADER_ELECTED", false},
	CodeOffsetMovedToTieredStorage:             {"OFFSET_MOVED_TO_TIERED_STORAGE", false},
	CodeFencedMemberEpoch:                      {"FENCED_MEMBER_EPOCH", false},
	CodeUnreleasedInstanceId:                   {"UNRELEASED_INSTANCE_ID", false},
	CodeUnsupportedAssignor:                    {"UNSUPPORTED_ASSIGNOR", false},
	CodeStaleMemberEpoch:                       {"STALE_MEMBER_EPOCH", false},
	CodeMismatchedEndpointType:                 {"MISMATCHED_ENDPOINT_TYPE", false},
	CodeUnsupportedEndpointType:                {"UNSUPPORTED_ENDPOINT_TYPE", false},
	CodeUnknownControllerId:                    {"UNKNOWN_CONTROLLER_ID", false},
	CodeUnknownSubscriptionId:                  {"UNKNOWN_SUBSCRIPTION_ID", false},
	CodeTelemetryTooLarge:                      {"TELEMETRY_TOO_LARGE", false},
	CodeInvalidRegistration:                    {"INVALID_REGISTRATION", false},
	CodeTransactionAbortable:                   {"TRANSACTION_ABORTABLE", false},
	CodeInvalidRecordState:                     {"INVALID_RECORD_STATE", false},
	CodeShareSessionNotFound:                   {"SHARE_SESSION_NOT_FOUND", false},
	CodeInvalidShareSessionEpoch:               {"INVALID_SHARE_SESSION_EPOCH", false},
	CodeFencedStateEpoch:                       {"FENCED_STATE_EPOCH", false},
	CodeInvalidVoterKey:                        {"INVALID_VOTER_KEY", false},
	CodeDuplicateVoter:                         {"DUPLICATE_VOTER", false},
	CodeVoterNotFound:                          {"VOTER_NOT_FOUND", false},
	CodeInvalidRegularExpression:               {"INVALID_REGULAR_EXPRESSION", false},
	CodeRebootstrapRequired:                    {"REBOOTSTRAP_REQUIRED", false},
	CodeStreamsInvalidTopology:                 {"STREAMS_INVALID_TOPOLOGY", false},
	CodeStreamsInvalidTopologyEpoch:            {"STREAMS_INVALID_TOPOLOGY_EPOCH", false},
	CodeStreamsTopologyFenced:                  {"STREAMS_TOPOLOGY_FENCED", false},
	CodeShareSessionLimitReached:               {"SHARE_SESSION_LIMIT_REACHED", true},
	CodeGroupDeletionFailed:                    {"GROUP_DELETION_FAILED", false},
	CodeStreamsTopologyDescriptionUpdateFailed: {"STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED", false},
	CodeControllerIdNotRegistered:              {"CONTROLLER_ID_NOT_REGISTERED", false},
}

// Name returns Kafka's name of the code, such as NOT_LEADER_FOR_PARTITION, or
// "CODE_n" for one that is newer than this build.
func (c Code) Name() string {
	if f, ok := codes[c]; ok {
		return f.name
	}
	return "CODE_" + strconv.Itoa(int(c))
}

// Retriable reports whether Kafka's clients may repeat the request as it is.
func (c Code) Retriable() bool { return codes[c].retriable }

// BrokerError is a broker's refusal: its code and, where it gave one (KIP-467),
// its message.
type BrokerError struct {
	Code    Code
	Message string
}

func (e *BrokerError) Error() string {
	s := e.Code.Name() + " (" + strconv.Itoa(int(e.Code)) + ")"
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// Is makes errors.Is(err, ErrUnknownTopic) and its like work on broker errors.
func (e *BrokerError) Is(target error) bool {
	switch target {
	case ErrUnknownTopic:
		return e.Code == CodeUnknownTopicOrPartition
	case ErrInvalidTopic:
		return e.Code == CodeInvalidTopicException
	case ErrRecordTooLarge:
		return e.Code == CodeMessageTooLarge || e.Code == CodeRecordListTooLarge
	case ErrFenced:
		return e.Code == CodeProducerFenced
	case ErrFatal:
		return e.Code == CodeProducerFenced || e.Code == CodeClusterAuthorizationFailed ||
			e.Code == CodeTransactionalIdAuthorizationFailed || e.Code == CodeUnsupportedVersion
	case ErrAbortable:
		return e.Code == CodeTransactionAbortable
	}
	other, ok := target.(*BrokerError)
	return ok && other.Code == e.Code
}
