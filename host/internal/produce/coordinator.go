package produce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
)

// control is a connection to a coordinator, for one request at a time.
type control interface {
	// Request sends a request in the highest version that both sides know, most
	// at the most. An error makes the connection useless.
	Request(ctx context.Context, req kmsg.Request, most int16) (kmsg.Response, error)
	// Version returns the versions of a request that the broker takes.
	Version(key int16) (min, max int16, ok bool)
	Close() error
}

// Versions of control requests: the last ones of each protocol. AddPartitions
// has later ones, which brokers use among themselves.
const (
	initProducerVersion   = 5
	addPartitionsVersion  = 3
	addOffsetsVersion     = 4
	commitOffsetsVersion  = 4
	commitOffsetsImplicit = 5 // adds the group to the transaction (KIP-890)
	endVersion            = 4
	endBumpingVersion     = 5 // gives a new epoch (KIP-890)

	firstGroupMetadata = 3 // of TxnOffsetCommit (KIP-447)
	firstEpochBump     = 3 // of InitProducerId (KIP-360)
)

// coordinator is the broker that coordinates a transactional id or a group. It
// belongs to the goroutine of the transactions.
type coordinator struct {
	p     *Pipeline
	group bool
	key   string

	conn     control
	implicit bool // the cluster has agreed on transaction.version 2
}

// featuresVersion is the first of ApiVersions that tells features (KIP-584).
const featuresVersion = 3

// connect finds the coordinator and connects, where that is not done.
func (k *coordinator) connect(ctx context.Context) error {
	if k.conn != nil {
		return nil
	}
	broker, err := k.p.net.coordinator(ctx, k.group, k.key)
	if err != nil {
		return fmt.Errorf("find the coordinator of %s: %w", k.name(), err)
	}
	conn, err := k.p.net.dialControl(ctx, broker)
	if err != nil {
		return fmt.Errorf("connect to broker %d, the coordinator of %s: %w", broker, k.name(), err)
	}
	resp, err := conn.Request(ctx, askFeatures(), featuresVersion)
	if err == nil {
		err = brokerError(resp.(*kmsg.ApiVersionsResponse).ErrorCode)
	}
	if err != nil {
		conn.Close()
		return fmt.Errorf("broker %d: ApiVersions: %w", broker, err)
	}
	k.conn, k.implicit = conn, !k.p.set.explicit && agreesOnVersion2(resp.(*kmsg.ApiVersionsResponse))
	return nil
}

// askFeatures names the client, without which brokers refuse to tell (KIP-511).
func askFeatures() *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "klamm", "1"
	return req
}

func agreesOnVersion2(r *kmsg.ApiVersionsResponse) bool {
	for _, f := range r.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel >= 2
		}
	}
	return false
}

func (k *coordinator) name() string {
	if k.group {
		return fmt.Sprintf("group %q", k.key)
	}
	return fmt.Sprintf("transactional_id %q", k.key)
}

// hangUp has the next request look for the coordinator anew.
func (k *coordinator) hangUp() {
	if k.conn != nil {
		k.conn.Close()
		k.conn = nil
	}
}

// unansweredError is an error that leaves open whether the request has been, or
// will be, carried out.
type unansweredError struct{ err error }

func (e *unansweredError) Error() string { return "no answer: " + e.err.Error() }
func (e *unansweredError) Unwrap() error { return e.err }

// ask sends one request. A *unansweredError tells that it went out and that no
// answer came.
func (k *coordinator) ask(req kmsg.Request, most int16) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeoutCause(k.p.ctx, k.p.set.request, errRequestTimeout)
	defer cancel()
	if err := k.connect(ctx); err != nil {
		return nil, err
	}
	if _, high, ok := k.conn.Version(req.Key()); !ok || high < leastVersion[req.Key()] {
		return nil, &klamm.BrokerError{Code: klamm.CodeUnsupportedVersion, Message: fmt.Sprintf("%s needs version %d of %s", k.name(), leastVersion[req.Key()], kmsg.NameForKey(req.Key()))}
	}
	resp, err := k.conn.Request(ctx, req, most)
	if err != nil {
		k.hangUp()
		if codeOf(err) != klamm.CodeNone {
			return nil, err // never sent
		}
		return nil, &unansweredError{err}
	}
	return resp, nil
}

// leastVersion of requests without which a guarantee would be missing.
var leastVersion = map[int16]int16{
	int16(kmsg.InitProducerID):  firstEpochBump,
	int16(kmsg.TxnOffsetCommit): firstGroupMetadata,
}

// codeOf returns the broker's code of an error, CodeNone if it has none.
func codeOf(err error) klamm.Code {
	var b *klamm.BrokerError
	if errors.As(err, &b) {
		return b.Code
	}
	return klamm.CodeNone
}

// remedy is what becomes of a control request after an answer.
type remedy uint8

const (
	done   remedy = iota
	repeat        // after a pause
	seek          // find the coordinator, then again
	abort         // the transaction is lost
	die           // the producer is
	forgot        // the coordinator has lost the producer id: a new one, then on
)

// remedies is the error table of control requests. Codes that are not named are
// repeated where Kafka's clients do; others end the transaction, or the producer
// where there is none that could be aborted.
var remedies = map[klamm.Code]remedy{
	klamm.CodeNone: done,

	klamm.CodeCoordinatorLoadInProgress: repeat,
	klamm.CodeConcurrentTransactions:    repeat,
	klamm.CodeUnknownTopicOrPartition:   repeat,
	klamm.CodeNotCoordinator:            seek,
	klamm.CodeCoordinatorNotAvailable:   seek,
	klamm.CodeRequestTimedOut:           seek,

	klamm.CodeTopicAuthorizationFailed: abort,
	klamm.CodeGroupAuthorizationFailed: abort,
	klamm.CodeIllegalGeneration:        abort,
	klamm.CodeUnknownMemberId:          abort,
	klamm.CodeFencedInstanceId:         abort,
	klamm.CodeRebalanceInProgress:      abort,
	klamm.CodeTransactionAbortable:     abort,
	klamm.CodeUnknownProducerId:        abort,
	klamm.CodeInvalidProducerIdMapping: forgot,

	klamm.CodeProducerFenced:                     die,
	klamm.CodeInvalidProducerEpoch:               die, // from a coordinator it is PRODUCER_FENCED (KIP-588)
	klamm.CodeTransactionalIdAuthorizationFailed: die,
	klamm.CodeClusterAuthorizationFailed:         die,
	klamm.CodeInvalidTransactionTimeout:          die,
	klamm.CodeUnsupportedVersion:                 die,
	klamm.CodeUnsupportedForMessageFormat:        die,
	klamm.CodeInvalidTxnState:                    die,
}

func remedyOf(c klamm.Code) remedy {
	if r, ok := remedies[c]; ok {
		return r
	}
	if c.Retriable() {
		return repeat
	}
	return abort
}

// fenced reports whether a coordinator says that the epoch is an old one.
func fenced(c klamm.Code) bool {
	return c == klamm.CodeProducerFenced || c == klamm.CodeInvalidProducerEpoch
}

// concurrentPause is how long to wait where the first request of a transaction
// meets the end of the one before, which takes a few milliseconds.
const concurrentPause = 20 * time.Millisecond
