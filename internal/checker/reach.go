package checker

import (
	"crypto/tls"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Reach says how a Kafka's brokers are reached: with TLS where there is a
// configuration of it, and as whom, where there is a mechanism as Kafka names it.
type Reach struct {
	TLS                           *tls.Config
	Mechanism, Username, Password string
}

// Options are those of franz-go.
func (r *Reach) Options() ([]kgo.Opt, error) {
	var options []kgo.Opt
	if r.TLS != nil {
		options = append(options, kgo.DialTLSConfig(r.TLS))
	}
	switch r.Mechanism {
	case "":
	case "PLAIN":
		options = append(options, kgo.SASL(plain.Auth{User: r.Username, Pass: r.Password}.AsMechanism()))
	case "SCRAM-SHA-256":
		options = append(options, kgo.SASL(scram.Auth{User: r.Username, Pass: r.Password}.AsSha256Mechanism()))
	case "SCRAM-SHA-512":
		options = append(options, kgo.SASL(scram.Auth{User: r.Username, Pass: r.Password}.AsSha512Mechanism()))
	default:
		return nil, fmt.Errorf("SASL mechanism %q is not known: there are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512", r.Mechanism)
	}
	return options, nil
}
