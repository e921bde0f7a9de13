// Package hosttest runs a host on an embedded broker inside a test: no Kafka, no
// Docker, no network.
//
//	h := hosttest.New(t, `
//	[state.ids]
//	[plugin.dedup]
//	module = "builtin:dedup"
//	state  = "ids"
//	config = { id = ["key"] }
//	[chain.orders]
//	topics  = ["orders"]
//	on_send = ["dedup"]
//	`)
//	h.Produce("orders", "k", "v")
//	h.ExpectDropped("orders", "k", "v")
package hosttest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/broker"
)

// Host is a host with its broker. Both stop with the test.
type Host struct {
	*host.Host
	Broker *broker.Broker

	t *testing.T
}

// patience bounds every call of the helpers.
const patience = 30 * time.Second

// Embedded starts the embedded broker for host.WithEmbedded.
func Embedded(ctx context.Context, cfg *host.EmbeddedConfig) ([]string, func() error, error) {
	b, err := broker.Start(ctx, cfg, broker.Options{AutoCreateTopics: true})
	if err != nil {
		return nil, nil, err
	}
	return b.Addrs(), b.Close, nil
}

// New starts a host from a configuration in TOML. Its cluster is the embedded
// broker unless the text names other bootstrap_servers, and topics are created
// when they are first used. Relative module paths start at the test's folder.
func New(t *testing.T, toml string, opts ...host.Option) *Host {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	return Open(t, path, opts...)
}

// Open is New for a file.
func Open(t *testing.T, path string, opts ...host.Option) *Host {
	t.Helper()
	h := &Host{t: t}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	embedded := func(ctx context.Context, cfg *host.EmbeddedConfig) ([]string, func() error, error) {
		var err error
		if h.Broker, err = broker.Start(ctx, cfg, broker.Options{AutoCreateTopics: true}); err != nil {
			return nil, nil, err
		}
		return h.Broker.Addrs(), h.Broker.Close, nil
	}
	var err error
	h.Host, err = host.Open(ctx, path, append([]host.Option{host.WithEmbedded(embedded)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Errorf("close the host: %v", err)
		}
	})
	return h
}

// Produce sends one record and fails the test unless it was written.
func (h *Host) Produce(topic, key, value string) klamm.Result {
	h.t.Helper()
	return h.expect(klamm.Written, topic, key, value)
}

// ExpectDropped sends one record and fails the test unless a plugin dropped it.
func (h *Host) ExpectDropped(topic, key, value string) klamm.Result {
	h.t.Helper()
	return h.expect(klamm.Dropped, topic, key, value)
}

func (h *Host) expect(want klamm.Outcome, topic, key, value string) klamm.Result {
	h.t.Helper()
	p, err := h.Producer()
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := p.Send(ctx, &klamm.Record{Topic: topic, Key: []byte(key), Value: []byte(value)})
	if r.Outcome != want {
		h.t.Fatalf("record %q to %q: outcome %v (plugin %q, reason %q, error %v), want %v", key, topic, r.Outcome, r.Plugin, r.Reason, err, want)
	}
	return r
}

// Consumed returns all records of a topic, read from its start to where it ends
// now, past the on_consume plugins of its chain. The order is that of each
// partition.
func (h *Host) Consumed(topic string) []klamm.Record {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var recs []klamm.Record
	err := h.Read(ctx, []string{topic}, host.ReadOptions{StopAtEnd: true}, func(rec *klamm.Record) error {
		recs = append(recs, *rec)
		return nil
	})
	if err != nil {
		h.t.Fatalf("read %q: %v", topic, err)
	}
	return recs
}
