package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
)

// ErrAuthentication: a broker did not take the user or the password. Check
// both; trying again does not help.
var ErrAuthentication = errors.New("authentication refused")

// strangeAnswer is a net.Error, because sarama gives a connection up only for
// those; after others it reads on.
type strangeAnswer string

func (e strangeAnswer) Error() string   { return string(e) }
func (e strangeAnswer) Timeout() bool   { return false }
func (e strangeAnswer) Temporary() bool { return false }

var _ net.Error = strangeAnswer("")

const (
	errAnswerIsTLS    strangeAnswer = "the port speaks TLS"
	errAnswerNotKafka strangeAnswer = "the answer is not Kafka's"
)

// The parts of opening a connection, for DialError.Check.
const (
	CheckConnect = "connect" // DNS and TCP
	CheckTLS     = "tls"
	CheckSASL    = "sasl"
	CheckKafka   = "kafka" // the first requests
)

// DialError is why one broker could not be used.
type DialError struct {
	Addr  string
	Check string // which part failed
	What  string // what happened and what to do; never a password
	Err   error
}

func (e *DialError) Error() string {
	if e.What == "" {
		return fmt.Sprintf("broker %q: %v", e.Addr, e.Err)
	}
	return fmt.Sprintf("broker %q: %s: %v", e.Addr, e.What, e.Err)
}

func (e *DialError) Unwrap() error { return e.Err }

// unreachableError joins the reasons of several brokers on one line.
type unreachableError []error

func (e unreachableError) Error() string {
	var b strings.Builder
	b.WriteString(klamm.ErrBrokerUnreachable.Error())
	for i, err := range e {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		b.WriteString(err.Error())
	}
	return b.String()
}

func (e unreachableError) Unwrap() []error {
	return append([]error{klamm.ErrBrokerUnreachable}, e...)
}

func unreachable(errs []error) error { return unreachableError(errs) }

type errDialTimeout struct{ after time.Duration }

func (e errDialTimeout) Error() string { return fmt.Sprintf("no answer within %v", e.after) }
func (e errDialTimeout) Timeout() bool { return true }

// handshakeError is a failure of TLS.
type handshakeError struct {
	server string
	err    error
}

func (e *handshakeError) Error() string { return e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// explain turns what sarama returned into a DialError.
func (l *link) explain(ctx context.Context, s *settings, err error) error {
	if ctx.Err() != nil {
		// The connection was cut by us; the cause is the news.
		cut := err
		err = context.Cause(ctx)
		if hs := (*handshakeError)(nil); errors.As(cut, &hs) {
			err = &handshakeError{server: hs.server, err: err}
		}
	}
	e := &DialError{Addr: l.addr, Err: err}
	var (
		hs    *handshakeError
		kerr  sarama.KError
		dns   *net.DNSError
		alert *net.OpError
	)
	switch {
	case errors.As(err, &hs):
		e.Check, e.What = CheckTLS, explainTLS(hs)
	case errors.As(err, &alert) && alert.Op == "remote error":
		e.Check, e.What = CheckTLS, "TLS: the broker refused our certificate or settings; see cert_file and key_file in [cluster.tls]"
	case errors.Is(err, sarama.ErrSASLAuthenticationFailed): // with the broker's text around it
		explainSASL(e, s, sarama.ErrSASLAuthenticationFailed)
	case errors.As(err, &kerr):
		explainSASL(e, s, kerr)
	case errors.As(err, &dns):
		e.Check, e.What = CheckConnect, "the name cannot be resolved (DNS); check the spelling and the network"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Check, e.What = CheckConnect, "nothing listens there; is the broker running, and is the port right?"
	case errors.Is(err, errAnswerIsTLS):
		e.Check, e.What = CheckTLS, "plaintext to a TLS port; set enabled = true in [cluster.tls]"
	case errors.Is(err, errAnswerNotKafka):
		e.Check, e.What = CheckKafka, "this is not a Kafka broker's port"
	case l.dialer.inner() == nil:
		e.Check, e.What = CheckConnect, "no connection"
	default:
		l.explainSilence(e, s)
	}
	return e
}

func explainTLS(e *handshakeError) string {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(e.err, &unknown):
		return "TLS: the broker's certificate is signed by an authority that is not trusted here; set ca_file in [cluster.tls] to its certificate"
	case errors.As(e.err, &host):
		return fmt.Sprintf("TLS: the broker's certificate is for another host than %q; connect by a name in it, or set server_name in [cluster.tls]", e.server)
	case errors.As(e.err, &invalid) && invalid.Reason == x509.Expired:
		return "TLS: the broker's certificate has expired or is not valid yet; renew it, and check this machine's clock"
	case errors.As(e.err, &invalid):
		return "TLS: the broker's certificate is not acceptable"
	case isClosed(e.err) || isTimeout(e.err) || strings.Contains(e.err.Error(), "does not look like a TLS handshake"):
		return "TLS to a plaintext port? The broker did not take the handshake; remove enabled = true from [cluster.tls], or use the broker's TLS port"
	}
	return "TLS: the handshake did not succeed"
}

func explainSASL(e *DialError, s *settings, kerr sarama.KError) {
	e.Check = CheckSASL
	switch kerr {
	case sarama.ErrSASLAuthenticationFailed:
		e.What = fmt.Sprintf("SASL %s: the broker refused user %q: wrong user or password", s.sasl.Mechanism, s.sasl.Username)
		e.Err = fmt.Errorf("%w: %w", ErrAuthentication, e.Err)
	case sarama.ErrUnsupportedSASLMechanism:
		e.What = fmt.Sprintf("SASL %s: the broker does not offer this mechanism; choose another one in [cluster.sasl]", s.sasl.Mechanism)
		e.Err = brokerError(kerr, nil)
	case sarama.ErrIllegalSASLState:
		e.What = fmt.Sprintf("SASL %s: this port takes no login; remove [cluster.sasl], or use the broker's SASL port", s.sasl.Mechanism)
		e.Err = brokerError(kerr, nil)
	default:
		e.Check, e.What, e.Err = CheckKafka, "the broker refused the first request", brokerError(kerr, nil)
	}
}

// explainSilence is for connections that ended or hung without an answer. What
// was said before tells what the broker missed.
func (l *link) explainSilence(e *DialError, s *settings) {
	switch {
	case l.stage == inUse:
		e.Check, e.What = CheckKafka, "the connection ended before the answer"
		if isTimeout(e.Err) {
			e.What = "request"
		}
	case l.stage == firstRequest && isClosed(e.Err) && s.sasl.Mechanism == "":
		e.Check, e.What = CheckSASL, "the broker ended the connection after the greeting; it may demand a login, see [cluster.sasl]"
	case l.stage == firstRequest:
		e.Check, e.What = CheckKafka, "the first request after the greeting"
	case !l.dialer.answered.Load() && s.tls == nil:
		e.Check, e.What = CheckKafka, "no answer to the first request; does the port speak TLS (then set enabled = true in [cluster.tls]), or is it no Kafka broker?"
	case !l.dialer.answered.Load():
		e.Check, e.What = CheckKafka, "no answer to the first request"
	case s.sasl.Mechanism != "" && isClosed(e.Err):
		e.Check, e.What = CheckSASL, fmt.Sprintf("SASL %s: the broker ended the login of user %q: wrong user or password", s.sasl.Mechanism, s.sasl.Username)
		e.Err = fmt.Errorf("%w: %w", ErrAuthentication, e.Err)
	case s.sasl.Mechanism != "":
		e.Check, e.What = CheckSASL, fmt.Sprintf("SASL %s: the login of user %q did not succeed", s.sasl.Mechanism, s.sasl.Username)
	default:
		e.Check, e.What = CheckKafka, "no answer"
	}
}

func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// brokerError turns sarama's error code into ours.
func brokerError(kerr sarama.KError, message *string) error {
	if kerr == sarama.ErrNoError {
		return nil
	}
	e := &klamm.BrokerError{Code: klamm.Code(kerr)}
	if message != nil {
		e.Message = *message
	}
	return e
}

// retriable reports whether asking again, perhaps another broker, may help.
func retriable(err error) bool {
	var b *klamm.BrokerError
	if errors.As(err, &b) {
		return b.Code.Retriable() || b.Code == klamm.CodeConcurrentTransactions
	}
	return !errors.Is(err, ErrAuthentication) && !errors.Is(err, sarama.ErrUnsupportedVersion)
}

// ended is the error of a wait that ctx ended: ErrTimeout for a deadline, with
// what stood in the way.
func ended(ctx context.Context, what string, last error) error {
	if last == nil {
		last = errors.New("no answer yet")
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w: %w", what, klamm.ErrTimeout, last)
	}
	return fmt.Errorf("%s: %w: %w", what, ctx.Err(), last)
}
