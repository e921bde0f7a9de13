package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm/internal/config"
)

// The defaults of config.Cluster, for configurations built in Go.
const (
	defaultClientID       = "klamm"
	defaultDialTimeout    = 10 * time.Second
	defaultMetadataMaxAge = 5 * time.Minute
	defaultMetadataIdle   = 5 * time.Minute
)

// requestTimeout bounds one answer of a broker to a request of sarama's.
//
// It is the default of Kafka's request.timeout.ms.
const requestTimeout = 30 * time.Second

// maxOpenRequests is more than anybody has in flight on one connection: whoever
// sends counts for itself, and sarama must not make it wait.
const maxOpenRequests = 1 << 10

// protocolVersion is the release whose requests sarama may use. Every request
// is lowered to what the broker offers, so it may be newer than the broker.
var protocolVersion = sarama.V4_0_0_0

// settings are a checked configuration.
type settings struct {
	addrs                   []string
	dialTimeout             time.Duration
	maxAge                  time.Duration
	maxIdle                 time.Duration // of a topic
	connMaxIdle             time.Duration // 0: for ever
	reconnect, reconnectMax time.Duration
	rebootstrap             bool // KIP-899
	autoCreate              bool
	sockets                 socketBuffers
	dial                    func(ctx context.Context, network, addr string) (net.Conn, error)
	tls                     *tls.Config // nil: plaintext
	sasl                    config.SASL
	sarama                  *sarama.Config // without a dialer
}

func newSettings(cfg *config.Cluster, o Options) (*settings, error) {
	s := &settings{
		addrs:       cfg.BootstrapServers,
		dialTimeout: orDefault(cfg.DialTimeout.Std(), defaultDialTimeout),
		maxAge:      orDefault(cfg.MetadataMaxAge.Std(), defaultMetadataMaxAge),
		maxIdle:     orDefault(cfg.MetadataMaxIdle.Std(), defaultMetadataIdle),
		connMaxIdle: cfg.ConnectionsMaxIdle.Std(),
		reconnect:   cfg.ReconnectBackoff.Std(), reconnectMax: cfg.ReconnectBackoffMax.Std(),
		rebootstrap: cfg.MetadataRecovery != "none",
		autoCreate:  cfg.AllowAutoCreateTopics,
		sockets:     socketBuffers{send: int(cfg.SendBuffer), receive: int(cfg.ReceiveBuffer)},
		dial:        o.Dial,
		sasl:        cfg.SASL,
	}
	var err error
	s.tls, err = TLSConfig(&cfg.TLS)
	if err := errors.Join(checkAddrs(cfg.BootstrapServers), err, checkSASL(&cfg.SASL)); err != nil {
		return nil, err
	}
	if cfg.SASL.Mechanism == sarama.SASLTypePlaintext && s.tls == nil && o.Logger != nil {
		o.Logger.Warn("the password goes over the network in the clear: SASL PLAIN without TLS", slog.Any("bootstrap_servers", cfg.BootstrapServers))
	}
	s.sarama = saramaConfig(cfg, s, o)
	return s, s.sarama.Validate()
}

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}

func checkAddrs(addrs []string) error {
	if len(addrs) == 0 {
		return errors.New("bootstrap_servers is empty: name at least one broker as host:port")
	}
	var errs []error
	for _, a := range addrs {
		if a == "embedded" {
			errs = append(errs, errors.New(`bootstrap server "embedded": no embedded broker was started for it`))
		} else if i := strings.LastIndexByte(a, ':'); i < 1 || i == len(a)-1 {
			errs = append(errs, fmt.Errorf("bootstrap server %q is not host:port, such as %q", a, strings.TrimRight(a, ":")+":9092"))
		}
	}
	return errors.Join(errs...)
}

// checkSASL refuses credentials that would not be used: sarama would log it and
// connect without them.
func checkSASL(s *config.SASL) error {
	switch s.Mechanism {
	case "":
		if s.Username != "" || s.Password != "" {
			return errors.New("[cluster.sasl] has a username or password but no mechanism: set mechanism to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, or remove them")
		}
		return nil
	case sarama.SASLTypePlaintext, sarama.SASLTypeSCRAMSHA256, sarama.SASLTypeSCRAMSHA512:
		if s.Username == "" || s.Password == "" {
			return fmt.Errorf("[cluster.sasl] mechanism %q needs a username and a password", s.Mechanism)
		}
		return nil
	}
	return fmt.Errorf("[cluster.sasl] mechanism %q is not known: use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", s.Mechanism)
}

func saramaConfig(cfg *config.Cluster, s *settings, o Options) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = protocolVersion
	c.ClientID = cfg.ClientID
	if c.ClientID == "" {
		c.ClientID = defaultClientID
	}
	if o.Purpose != "" {
		c.ClientID += "-" + o.Purpose
	}
	c.MetricRegistry = noMetrics{}
	c.Net.DialTimeout = s.dialTimeout
	c.Net.MaxOpenRequests = maxOpenRequests
	c.Net.ReadTimeout = requestTimeout
	c.Net.WriteTimeout = requestTimeout
	c.Metadata.Full = false
	c.Metadata.RefreshFrequency = s.maxAge
	c.Metadata.AllowAutoTopicCreation = s.autoCreate
	c.Consumer.Return.Errors = true
	// Offsets are committed by requests of our own, see consume.
	c.Consumer.Offsets.AutoCommit.Enable = false

	if s.sasl.Mechanism != "" {
		c.Net.SASL.Enable = true
		c.Net.SASL.Mechanism = sarama.SASLMechanism(s.sasl.Mechanism)
		c.Net.SASL.User = s.sasl.Username
		c.Net.SASL.Password = string(s.sasl.Password)
		c.Net.SASL.SCRAMClientGeneratorFunc = scramClient(s.sasl.Mechanism)
	}
	return c
}
