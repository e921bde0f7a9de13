package cluster

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/config"
)

// TestSessionLifetime: a connection knows how long its login lives, with every
// mechanism, in the clear and over TLS, and only where the broker limits it.
func TestSessionLifetime(t *testing.T) {
	pki := newPKI(t)
	limit := kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": "60000"})
	for _, tt := range []struct {
		name, mechanism string
		tls             *tls.Config
		kafka           []kfake.Opt
		limited         bool
	}{
		{"PLAIN", "PLAIN", nil, []kfake.Opt{limit}, true},
		{"SCRAM-SHA-256", "SCRAM-SHA-256", nil, []kfake.Opt{limit}, true},
		{"SCRAM-SHA-512 over TLS", "SCRAM-SHA-512", pki.server(t, validCert), []kfake.Opt{limit}, true},
		{"no limit", "SCRAM-SHA-256", nil, nil, false},
		{"no login", "", nil, []kfake.Opt{limit}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := broker.Options{TLS: tt.tls, Kafka: tt.kafka}
			if tt.mechanism != "" {
				o.Users = users()
			}
			b := startBroker(t, config.Embedded{}, o)
			cfg := clusterConfig(b)
			if tt.mechanism != "" {
				cfg.SASL = saslOf(tt.mechanism, secret)
			}
			if tt.tls != nil {
				cfg.TLS = config.TLS{Enabled: true, CAFile: pki.caFile}
			}
			before := time.Now()
			conn, err := mustOpen(t, cfg).Dial(testContext(t), 0)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			at := conn.RenewAt()
			if at.IsZero() == tt.limited {
				t.Fatalf("RenewAt = %v, limited: %t", at, tt.limited)
			}
			if tt.limited && (at.Before(before.Add(51*time.Second)) || at.After(time.Now().Add(57*time.Second))) {
				t.Errorf("RenewAt is %s from now, want 51 to 57 seconds", time.Until(at))
			}
		})
	}
}

// FuzzSessionAnswer: whatever a broker answers to a login, in whatever pieces,
// nothing panics or is kept.
func FuzzSessionAnswer(f *testing.F) {
	for _, version := range []int16{0, 1, 2} {
		resp := kmsg.NewPtrSASLAuthenticateResponse()
		resp.Version, resp.SessionLifetimeMillis = version, 1<<62
		body := []byte{0, 0, 0, 7}
		if resp.IsFlexible() {
			body = append(body, 0)
		}
		body = resp.AppendTo(body)
		f.Add(version, append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...), 3)
	}
	f.Add(int16(2), []byte{0, 0, 0, 9, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff, 0x0f}, 1)
	f.Add(int16(1), []byte{0x7f, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5}, 4)
	f.Fuzz(func(t *testing.T, version int16, stream []byte, step int) {
		if version < 0 || version > 2 || step < 1 {
			return
		}
		c := &sessionConn{version: version, correlation: 7, asked: true}
		began := time.Now()
		for r := bytes.NewReader(stream); r.Len() > 0 && c.asked; {
			piece := make([]byte, min(step, r.Len()))
			_, _ = r.Read(piece)
			c.heard(piece)
		}
		if !c.asked && c.in != nil {
			t.Error("an answer is kept")
		}
		if !c.renewAt.IsZero() && c.renewAt.Before(began) {
			t.Errorf("to be renewed at %v", c.renewAt)
		}
	})
}
