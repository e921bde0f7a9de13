package cluster

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func startBroker(t *testing.T, cfg config.Embedded, o broker.Options) *broker.Broker {
	t.Helper()
	b, err := broker.Start(testContext(t), &cfg, o)
	if err != nil {
		t.Fatalf("broker: %v", err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// clusterConfig is the configuration of a cluster at b.
func clusterConfig(b *broker.Broker) config.Cluster {
	return config.Cluster{BootstrapServers: b.Addrs(), DialTimeout: config.Duration(5 * time.Second)}
}

func mustOpen(t *testing.T, cfg config.Cluster) *Cluster {
	t.Helper()
	c, err := Open(testContext(t), &cfg, Options{Purpose: "test"})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// wantError checks that err says all of want and none of the passwords.
func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), wrongSecret) {
		t.Errorf("error %q holds the password", err)
	}
}

const (
	secret      = "hush-hush-7"
	wrongSecret = "not-the-password-8"
)

func saslOf(mechanism, password string) config.SASL {
	return config.SASL{Mechanism: mechanism, Username: "klamm-user", Password: config.Secret(password)}
}

func users() []broker.User {
	var us []broker.User
	for _, m := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		us = append(us, broker.User{Mechanism: m, Name: "klamm-user", Password: secret})
	}
	return us
}

func TestOpenAndDial(t *testing.T) {
	pki := newPKI(t)
	tests := []struct {
		name string
		tls  *tls.Config
		sasl config.SASL
	}{
		{name: "plain"},
		{name: "SASL PLAIN", sasl: saslOf("PLAIN", secret)},
		{name: "SASL SCRAM-SHA-256", sasl: saslOf("SCRAM-SHA-256", secret)},
		{name: "SASL SCRAM-SHA-512", sasl: saslOf("SCRAM-SHA-512", secret)},
		{name: "TLS", tls: pki.server(t, validCert)},
		{name: "TLS and SASL SCRAM-SHA-512", tls: pki.server(t, validCert), sasl: saslOf("SCRAM-SHA-512", secret)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := broker.Options{TLS: tt.tls, Brokers: 2}
			if tt.sasl.Mechanism != "" {
				o.Users = users()
			}
			b := startBroker(t, config.Embedded{Topics: []string{"t"}, Partitions: 3}, o)
			cfg := clusterConfig(b)
			cfg.SASL = tt.sasl
			if tt.tls != nil {
				cfg.TLS = config.TLS{Enabled: true, CAFile: pki.caFile}
			}
			c := mustOpen(t, cfg)
			topic, err := c.AwaitTopic(testContext(t), "t")
			if err != nil {
				t.Fatal(err)
			}
			if len(topic.Partitions) != 3 {
				t.Errorf("%d partitions, want 3", len(topic.Partitions))
			}
			for p := range topic.Partitions {
				leader, _ := c.Leader("t", int32(p))
				rawMetadata(t, c, leader, "t")
			}
			if at, err := c.Client().GetOffset("t", 0, sarama.OffsetNewest); err != nil || at != 0 {
				t.Errorf("sarama's client: offset %d, %v", at, err)
			}
		})
	}
}

// rawMetadata writes a frame of its own on a dialled connection.
func rawMetadata(t *testing.T, c *Cluster, id int32, topic string) {
	t.Helper()
	conn, err := c.Dial(testContext(t), id)
	if err != nil {
		t.Fatalf("Dial(%d): %v", id, err)
	}
	defer conn.Close()
	if _, max, ok := conn.Version(0); !ok || max < 10 {
		t.Errorf("Version(Produce) = %d, %v", max, ok)
	}
	if _, _, ok := conn.Version(999); ok {
		t.Error("Version(999) is known")
	}
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic
	req.Topics = append(req.Topics, rt)
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	roundTrip(t, conn, req, resp)
	if len(resp.Topics) != 1 || *resp.Topics[0].Topic != topic || resp.Topics[0].ErrorCode != 0 {
		t.Errorf("raw metadata answer: %+v", resp.Topics)
	}
	if err := conn.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func roundTrip(t *testing.T, conn net.Conn, req kmsg.Request, resp kmsg.Response) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, req, 77)
	if _, err := conn.Write(frame); err != nil {
		t.Fatalf("write: %v", err)
	}
	head := make([]byte, 4)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatalf("read: %v", err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head))
	if _, err := io.ReadFull(conn, body); err != nil {
		t.Fatalf("read: %v", err)
	}
	if id := binary.BigEndian.Uint32(body); id != 77 {
		t.Fatalf("correlation id %d, want 77", id)
	}
	body = body[4:]
	if resp.IsFlexible() {
		body = body[1:]
	}
	resp.SetVersion(req.GetVersion())
	if err := resp.ReadFrom(body); err != nil {
		t.Fatalf("decode: %v", err)
	}
}

func TestOpenRefusesConfigurations(t *testing.T) {
	tests := []struct {
		name string
		cfg  config.Cluster
		want string
	}{
		{"no address", config.Cluster{}, "bootstrap_servers is empty"},
		{"no port", config.Cluster{BootstrapServers: []string{"kafka"}}, `"kafka" is not host:port`},
		{"embedded", config.Cluster{BootstrapServers: []string{"embedded"}}, "no embedded broker was started"},
		{"password without mechanism", config.Cluster{SASL: config.SASL{Password: secret}}, "no mechanism"},
		{"unknown mechanism", config.Cluster{SASL: saslOf("GSSAPI", secret)}, `"GSSAPI" is not known`},
		{"no password", config.Cluster{SASL: config.SASL{Mechanism: "PLAIN", Username: "u"}}, "needs a username and a password"},
		{"ca_file without TLS", config.Cluster{TLS: config.TLS{CAFile: "ca.pem"}}, "enabled is not true"},
		{"missing ca_file", config.Cluster{TLS: config.TLS{Enabled: true, CAFile: "/nowhere/ca.pem"}}, "/nowhere/ca.pem"},
		{"empty ca_file", config.Cluster{TLS: config.TLS{Enabled: true, CAFile: "/dev/null"}}, "no certificate in PEM form"},
		{"certificate without key", config.Cluster{TLS: config.TLS{Enabled: true, CertFile: "c.pem"}}, "go together"},
		{"missing certificate", config.Cluster{TLS: config.TLS{Enabled: true, CertFile: "c.pem", KeyFile: "k.pem"}}, "c.pem"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Open(testContext(t), &tt.cfg, Options{})
			if err == nil {
				c.Close()
			}
			wantError(t, err, tt.want)
			if errors.Is(err, klamm.ErrBrokerUnreachable) {
				t.Errorf("%v is ErrBrokerUnreachable, but no broker was asked", err)
			}
		})
	}
}

// TestOpenUnreachable is S2 of the fault list and its neighbours.
func TestOpenUnreachable(t *testing.T) {
	pki := newPKI(t)
	plain := startBroker(t, config.Embedded{}, broker.Options{})
	login := startBroker(t, config.Embedded{}, broker.Options{Users: users()})
	secure := startBroker(t, config.Embedded{}, broker.Options{TLS: pki.server(t, validCert)})
	expired := startBroker(t, config.Embedded{}, broker.Options{TLS: pki.server(t, expiredCert)})
	elsewhere := startBroker(t, config.Embedded{}, broker.Options{TLS: pki.server(t, otherHostCert)})
	mutual := pki.server(t, validCert)
	mutual.ClientAuth = tls.RequireAndVerifyClientCert
	demanding := startBroker(t, config.Embedded{}, broker.Options{TLS: mutual})

	trust := config.TLS{Enabled: true, CAFile: pki.caFile}
	tests := []struct {
		name  string
		addrs []string
		tls   config.TLS
		sasl  config.SASL
		check string
		want  []string
		auth  bool
	}{
		{name: "refused", addrs: []string{closedPort(t)}, check: CheckConnect, want: []string{"nothing listens there"}},
		{name: "DNS", addrs: []string{"broker.invalid:9092"}, check: CheckConnect, want: []string{"broker.invalid:9092", "DNS"}},
		{name: "silence", addrs: []string{silentPort(t, "")}, check: CheckKafka, want: []string{"no answer within 500ms", "TLS"}},
		{name: "HTTP", addrs: []string{silentPort(t, "HTTP/1.1 400 Bad Request\r\n\r\n")}, check: CheckKafka, want: []string{"not a Kafka broker"}},
		{name: "plaintext to TLS that closes", addrs: secure.Addrs(), check: CheckKafka, want: []string{"does the port speak TLS", "enabled = true"}},
		{name: "plaintext to TLS that sends an alert", addrs: []string{silentPort(t, "\x15\x03\x03\x00\x02\x02\x46")}, check: CheckTLS, want: []string{"plaintext to a TLS port"}},
		{name: "TLS to plaintext", addrs: plain.Addrs(), tls: trust, check: CheckTLS, want: []string{"TLS to a plaintext port"}},
		{name: "TLS to silence", addrs: []string{silentPort(t, "")}, tls: trust, check: CheckTLS, want: []string{"no answer within 500ms", "plaintext port"}},
		{name: "unknown authority", addrs: secure.Addrs(), tls: config.TLS{Enabled: true}, check: CheckTLS, want: []string{"authority that is not trusted", "ca_file"}},
		{name: "expired", addrs: expired.Addrs(), tls: trust, check: CheckTLS, want: []string{"expired"}},
		{name: "wrong host", addrs: elsewhere.Addrs(), tls: trust, check: CheckTLS, want: []string{"another host than \"127.0.0.1\"", "server_name"}},
		{name: "client certificate missing", addrs: demanding.Addrs(), tls: trust, check: CheckTLS, want: []string{"cert_file"}},
		{name: "no login", addrs: login.Addrs(), check: CheckSASL, want: []string{"may demand a login"}},
		{name: "wrong password PLAIN", addrs: login.Addrs(), sasl: saslOf("PLAIN", wrongSecret), check: CheckSASL, want: []string{"SASL PLAIN", "klamm-user", "wrong user or password"}, auth: true},
		{name: "wrong password SCRAM-SHA-256", addrs: login.Addrs(), sasl: saslOf("SCRAM-SHA-256", wrongSecret), check: CheckSASL, want: []string{"SCRAM-SHA-256", "wrong user or password"}, auth: true},
		{name: "wrong password SCRAM-SHA-512", addrs: login.Addrs(), sasl: saslOf("SCRAM-SHA-512", wrongSecret), check: CheckSASL, want: []string{"SCRAM-SHA-512", "wrong user or password"}, auth: true},
		{name: "two addresses", addrs: []string{closedPort(t), "broker.invalid:9092"}, check: CheckConnect, want: []string{"nothing listens", "; broker \"broker.invalid:9092\""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			timeout := 10 * time.Second
			if strings.Contains(tt.name, "silence") {
				timeout = 500 * time.Millisecond
			}
			c, err := Open(testContext(t), &config.Cluster{BootstrapServers: tt.addrs, TLS: tt.tls, SASL: tt.sasl, DialTimeout: config.Duration(timeout)}, Options{})
			if err == nil {
				c.Close()
			}
			wantError(t, err, append(tt.want, tt.addrs[0])...)
			if !errors.Is(err, klamm.ErrBrokerUnreachable) {
				t.Errorf("%v is not ErrBrokerUnreachable", err)
			}
			var de *DialError
			if !errors.As(err, &de) || de.Check != tt.check {
				t.Errorf("DialError = %+v, want check %q", de, tt.check)
			}
			if got := errors.Is(err, ErrAuthentication); got != tt.auth {
				t.Errorf("ErrAuthentication = %v, want %v: %v", got, tt.auth, err)
			}
		})
	}
}

// TestOpenKafkaLoginAnswers has the broker answer logins as Apache Kafka does;
// kfake only hangs up.
func TestOpenKafkaLoginAnswers(t *testing.T) {
	tests := []struct {
		name   string
		key    int16
		answer func(kmsg.Request) kmsg.Response
		want   []string
		auth   bool
	}{
		{"wrong password", 36, func(r kmsg.Request) kmsg.Response {
			resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
			resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
			resp.ErrorMessage = kmsg.StringPtr("Authentication failed: Invalid username or password")
			return resp
		}, []string{"SASL PLAIN", "klamm-user", "wrong user or password", "Invalid username or password"}, true},
		{"other mechanisms", 17, func(r kmsg.Request) kmsg.Response {
			resp := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
			resp.ErrorCode = kerr.UnsupportedSaslMechanism.Code
			return resp
		}, []string{"SASL PLAIN", "does not offer this mechanism"}, false},
		{"port without SASL", 17, func(r kmsg.Request) kmsg.Response {
			resp := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
			resp.ErrorCode = kerr.IllegalSaslState.Code
			return resp
		}, []string{"takes no login"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := startBroker(t, config.Embedded{}, broker.Options{Users: users()})
			b.Cluster().ControlKey(tt.key, func(r kmsg.Request) (kmsg.Response, error, bool) {
				b.Cluster().KeepControl()
				return tt.answer(r), nil, true
			})
			cfg := clusterConfig(b)
			cfg.SASL = saslOf("PLAIN", wrongSecret)
			c, err := Open(testContext(t), &cfg, Options{})
			if err == nil {
				c.Close()
			}
			wantError(t, err, append(tt.want, b.Addrs()[0])...)
			if got := errors.Is(err, ErrAuthentication); got != tt.auth {
				t.Errorf("ErrAuthentication = %v, want %v", got, tt.auth)
			}
		})
	}
}

func TestOpenTakesTheFirstThatAnswers(t *testing.T) {
	b := startBroker(t, config.Embedded{}, broker.Options{})
	cfg := clusterConfig(b)
	cfg.BootstrapServers = append([]string{closedPort(t)}, cfg.BootstrapServers...)
	mustOpen(t, cfg)
}

func TestOpenEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	accepted := make(chan struct{})
	addr := listen(t, func(c net.Conn) { close(accepted); io.Copy(io.Discard, c) })
	go func() { <-accepted; cancel() }()
	_, err := Open(ctx, &config.Cluster{BootstrapServers: []string{addr}}, Options{})
	wantError(t, err, "context canceled")
}

func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// silentPort accepts connections, answers the first bytes with reply and then
// says nothing.
func silentPort(t *testing.T, reply string) string {
	t.Helper()
	return listen(t, func(c net.Conn) {
		c.Read(make([]byte, 1))
		io.WriteString(c, reply)
		io.Copy(io.Discard, c)
	})
}

func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func TestDialErrors(t *testing.T) {
	b := startBroker(t, config.Embedded{}, broker.Options{Brokers: 2})
	c := mustOpen(t, clusterConfig(b))
	_, err := c.Dial(testContext(t), 42)
	wantError(t, err, "broker 42 is not in the cluster's metadata")
	if !errors.Is(err, klamm.ErrBrokerUnreachable) {
		t.Errorf("%v is not ErrBrokerUnreachable", err)
	}
	addr, _ := c.brokerAddr(1)
	if err := b.Cluster().RemoveNode(1); err != nil {
		t.Fatal(err)
	}
	_, err = c.Dial(testContext(t), 1)
	wantError(t, err, addr, "nothing listens there")
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := c.Dial(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with an ended context: %v", err)
	}
}

func TestCloseTwice(t *testing.T) {
	b := startBroker(t, config.Embedded{}, broker.Options{})
	cfg := clusterConfig(b)
	c, err := Open(testContext(t), &cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := c.AwaitTopic(testContext(t), "t"); !errors.Is(err, klamm.ErrClosed) {
		t.Errorf("AwaitTopic after Close: %v, want ErrClosed", err)
	}
	if _, _, err := c.InitProducerID(testContext(t), "", 0, -1, -1); !errors.Is(err, klamm.ErrClosed) {
		t.Errorf("InitProducerID after Close: %v, want ErrClosed", err)
	}
}

func TestInitProducerID(t *testing.T) {
	b := startBroker(t, config.Embedded{}, broker.Options{Brokers: 3})
	c := mustOpen(t, clusterConfig(b))
	ctx := testContext(t)

	t.Run("idempotent", func(t *testing.T) {
		p1, e1, err := c.InitProducerID(ctx, "", 0, -1, -1)
		if err != nil || e1 != 0 {
			t.Fatalf("InitProducerID = %d, %d, %v", p1, e1, err)
		}
		p2, _, err := c.InitProducerID(ctx, "", 0, -1, -1)
		if err != nil || p2 == p1 {
			t.Errorf("second producer id %d, %v, want another than %d", p2, err, p1)
		}
	})
	t.Run("transactional", func(t *testing.T) {
		p1, e1, err := c.InitProducerID(ctx, "tx", time.Minute, -1, -1)
		if err != nil {
			t.Fatal(err)
		}
		p2, e2, err := c.InitProducerID(ctx, "tx", time.Minute, -1, -1)
		if err != nil || p2 != p1 || e2 != e1+1 {
			t.Errorf("again: %d, %d, %v; want the same id %d and epoch %d", p2, e2, err, p1, e1+1)
		}
	})
	t.Run("errors that pass", func(t *testing.T) {
		h := b.Cluster().Fault(
			kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, TxnID: "tx", Err: kerr.CoordinatorNotAvailable},
			kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TxnID: "tx", TopLevel: true, Err: kerr.CoordinatorLoadInProgress},
			kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TxnID: "tx", TopLevel: true, Err: kerr.ConcurrentTransactions},
		)
		if _, _, err := c.InitProducerID(ctx, "tx", time.Minute, -1, -1); err != nil {
			t.Fatal(err)
		}
		if h.Hits() != 3 {
			t.Errorf("%d faults met, want 3", h.Hits())
		}
	})
	for _, code := range []*kerr.Error{kerr.ProducerFenced, kerr.InvalidProducerEpoch} {
		t.Run("fenced by "+code.Message, func(t *testing.T) {
			b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TopLevel: true, Err: code})
			_, _, err := c.InitProducerID(ctx, "tx", time.Minute, 1, 1)
			if !errors.Is(err, klamm.ErrFenced) {
				t.Errorf("%v is not ErrFenced", err)
			}
			wantError(t, err, `"tx"`)
		})
	}
	t.Run("deadline", func(t *testing.T) {
		h := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TopLevel: true, Err: kerr.CoordinatorLoadInProgress, Count: -1})
		defer h.Remove()
		short, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		_, _, err := c.InitProducerID(short, "", 0, -1, -1)
		if !errors.Is(err, klamm.ErrTimeout) {
			t.Errorf("%v is not ErrTimeout", err)
		}
		wantError(t, err, "COORDINATOR_LOAD_IN_PROGRESS")
	})
}

func TestTopicAdministration(t *testing.T) {
	b := startBroker(t, config.Embedded{Topics: []string{"first"}}, broker.Options{Brokers: 3})
	c := mustOpen(t, clusterConfig(b))
	ctx := testContext(t)
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.NotController})
	if err := c.CreateTopic(ctx, "second", 5, 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	names, err := c.ListTopics(ctx)
	if err != nil || !slices.Equal(names, []string{"first", "second"}) {
		t.Errorf("ListTopics = %v, %v", names, err)
	}
	topics, err := c.DescribeTopics(ctx, "second", "first")
	if err != nil || len(topics) != 2 || topics[0].Name != "second" || len(topics[0].Partitions) != 5 {
		t.Errorf("DescribeTopics = %+v, %v", topics, err)
	}
	var be *klamm.BrokerError
	if err := c.CreateTopic(ctx, "second", 5, 1, nil); !errors.As(err, &be) || be.Code != klamm.CodeTopicAlreadyExists {
		t.Errorf("second creation: %v", err)
	}
	if err := c.CreateTopic(ctx, "a/b", 1, 1, nil); !errors.Is(err, klamm.ErrInvalidTopic) {
		t.Errorf("bad name: %v", err)
	}
	topics, err = c.DescribeTopics(ctx, "first", "missing")
	if !errors.Is(err, klamm.ErrUnknownTopic) || topics[0] == nil || topics[1] != nil {
		t.Errorf("DescribeTopics with a missing topic = %v, %v", topics, err)
	}
	wantError(t, err, `"missing"`)
}

func ExampleDialError() {
	err := &DialError{Addr: "kafka:9092", Check: CheckConnect, What: "nothing listens there; is the broker running, and is the port right?", Err: errors.New("connection refused")}
	fmt.Println(err)
	// Output: broker "kafka:9092": nothing listens there; is the broker running, and is the port right?: connection refused
}

func TestConnRequest(t *testing.T) {
	b := startBroker(t, config.Embedded{Topics: []string{"t"}, Partitions: 2}, broker.Options{})
	c := mustOpen(t, clusterConfig(b))
	conn, err := c.Dial(testContext(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 3 {
		req := kmsg.NewPtrMetadataRequest()
		resp, err := conn.Request(testContext(t), req, 11)
		if err != nil {
			t.Fatal(err)
		}
		if m := resp.(*kmsg.MetadataResponse); m.Version != 11 || len(m.Topics) != 1 {
			t.Errorf("answer %+v", m)
		}
	}
	if _, err := conn.Request(testContext(t), kmsg.NewPtrFetchRequest(), 3); err == nil || !strings.Contains(err.Error(), "UNSUPPORTED_VERSION") {
		t.Errorf("a version that the broker has no more: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := make(chan struct{})
	b.Cluster().ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		cancel()
		<-h
		return nil, nil, false
	})
	_, err = conn.Request(ctx, kmsg.NewPtrMetadataRequest(), 11)
	close(h)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}

func FuzzDecodeResponse(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0})
	f.Add([]byte{0, 0, 0, 1, 1, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) < 4 {
			return
		}
		for _, key := range []kmsg.Key{kmsg.Fetch, kmsg.ListOffsets, kmsg.OffsetCommit, kmsg.OffsetFetch} {
			req := key.Request()
			req.SetVersion(min(8, req.MaxVersion()))
			_, _ = decodeResponse(req, 1, body)
		}
	})
}
