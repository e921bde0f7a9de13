package host_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/state/redis"
)

// dedupInto is a host that drops records of topic "clean" whose key was there.
func dedupInto(store host.StateConfig) host.Config {
	cfg := host.Config{
		State:  map[string]host.StateConfig{"ids": store},
		Plugin: map[string]host.PluginConfig{"dedup": {Module: "builtin:dedup", State: "ids", Config: map[string]any{"id": "key", "window": "24h"}}},
		Chain:  map[string]host.ChainConfig{"clean": {Topics: []string{"clean"}, OnSend: []string{"dedup"}}},
	}
	return cfg
}

// sendOnce sends a record and closes the host.
func sendOnce(t *testing.T, b *testBroker, cfg host.Config, key string) klamm.Result {
	t.Helper()
	cfg.Cluster.BootstrapServers = b.Addrs()
	h, err := host.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	return sendNow(t, producerOf(t, h), klamm.Record{Topic: "clean", Key: []byte(key), Value: []byte("v")})
}

func sendNow(t *testing.T, p *host.Producer, rec klamm.Record) klamm.Result {
	t.Helper()
	r, err := p.Send(within(t), &rec)
	if r.Err = err; err != nil {
		r.Outcome = klamm.Failed
	}
	return r
}

// What a file remembers is known to the next process, and no two have it open.
func TestFileStateSurvives(t *testing.T) {
	b := startBroker(t, 1, "clean")
	cfg := dedupInto(host.StateConfig{Backend: "file", Path: filepath.Join(t.TempDir(), "ids.state")})
	if r := sendOnce(t, b, cfg, "a"); r.Outcome != klamm.Written {
		t.Fatalf("first: %+v", r)
	}
	if r := sendOnce(t, b, cfg, "a"); r.Outcome != klamm.Dropped || r.Plugin != "dedup" {
		t.Errorf("again, after a restart: %+v", r)
	}
	if r := sendOnce(t, b, cfg, "b"); r.Outcome != klamm.Written {
		t.Errorf("another id: %+v", r)
	}

	h := newHost(t, b, cfg)
	stats := h.Stats()
	if len(stats.Backends) != 1 || stats.Backends[0].Where != cfg.State["ids"].Path || stats.Backends[0].Error != "" || stats.States[0].Entries != 2 {
		t.Errorf("got %+v, %+v", stats.Backends, stats.States)
	}
	_, err := host.New(cfg)
	if err == nil || !strings.Contains(err.Error(), "another process has it open") {
		t.Errorf("opened twice: %v", err)
	}
	check, err := host.Load(within(t), cfg, ".")
	if err != nil {
		t.Fatalf("a check beside the running host: %v", err)
	}
	if err := check.Close(within(t)); err != nil {
		t.Error(err)
	}
}

// The usual recipe asks a set whether the id is there, puts it in, and sends.
// When the send fails, the retry finds the id and drops the record: it is lost,
// and nobody is told. Ours gives the id back with the failure. Both see the same
// sends here; the broker refuses the first of each record.
func TestNaiveRecipeLosesWhatOursKeeps(t *testing.T) {
	const records = 20
	b := startBroker(t, 1, "clean", "naive")
	p := producerOf(t, newHost(t, b, dedupInto(host.StateConfig{})))
	var refuse atomic.Bool
	var refused atomic.Int64
	b.Cluster(t).ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster(t).KeepControl()
		if !refuse.Load() {
			return nil, nil, false
		}
		refused.Add(1)
		return refuseProduce(req, kerr.InvalidRecord.Code), nil, true
	})

	seen := map[string]bool{}
	naive := func(rec klamm.Record) klamm.Result {
		if seen[string(rec.Key)] {
			return klamm.Result{Outcome: klamm.Dropped, Reason: "duplicate"}
		}
		seen[string(rec.Key)] = true
		rec.Topic = "naive"
		return sendNow(t, p, rec)
	}
	ours := func(rec klamm.Record) klamm.Result {
		rec.Topic = "clean"
		return sendNow(t, p, rec)
	}
	for i := range records {
		rec := klamm.Record{Key: fmt.Appendf(nil, "id-%d", i), Value: []byte("v")}
		for _, send := range []func(klamm.Record) klamm.Result{naive, ours} {
			refuse.Store(true)
			if r := send(rec); r.Outcome != klamm.Failed {
				t.Fatalf("a send that the broker refuses: %+v", r)
			}
			refuse.Store(false)
			send(rec) // the retry
			if r := send(rec); r.Outcome != klamm.Dropped {
				t.Errorf("record %d, a true duplicate: %+v", i, r)
			}
		}
	}
	lost, kept := records-len(readTopic(t, b, "naive")), len(readTopic(t, b, "clean"))
	t.Logf("%d sends were refused and retried: the naive recipe lost %d of %d records, ours kept %d", refused.Load(), lost, records, kept)
	if refused.Load() != 2*records || lost != records || kept != records {
		t.Errorf("refused %d sends; the naive recipe lost %d records, and ours kept %d", refused.Load(), lost, kept)
	}
}

// Two hosts with one window in Redis: what one has written, the other drops.
func TestRedisStateIsShared(t *testing.T) {
	m := miniredis.RunT(t)
	b := startBroker(t, 1, "clean")
	hostOf := func(id string) *host.Producer {
		cfg := dedupInto(host.StateConfig{Backend: "redis", URL: host.Secret("redis://" + m.Addr()), Timeout: host.Duration(patience), Lease: host.Duration(time.Hour)})
		cfg.Host.ID = id
		return producerOf(t, newHost(t, b, cfg, host.WithStateBackend("redis", redis.Open)))
	}
	one, two := hostOf("one"), hostOf("two")
	for i := range 10 {
		rec := klamm.Record{Topic: "clean", Key: fmt.Append(nil, i), Value: []byte("v")}
		for j, p := range []*host.Producer{one, two, two, one} {
			want := klamm.Dropped
			if j == 0 {
				want = klamm.Written
			}
			if r := sendNow(t, p, rec); r.Outcome != want {
				t.Errorf("record %d, send %d: got %+v, want %s", i, j, r, want)
			}
		}
	}
	if got := len(readTopic(t, b, "clean")); got != 10 {
		t.Errorf("the topic has %d records, want 10", got)
	}
}
