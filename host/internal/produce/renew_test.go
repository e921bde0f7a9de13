package produce

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/klamm-io/klamm/internal/config"
)

// TestLoginsAreRenewed: a connection whose login ends is replaced once nothing is
// under way on it, and no request fails or is sent twice for it (KIP-368).
func TestLoginsAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 1)
		n.session = 10 * time.Second
		n.serve = func(c *fakeConn) {
			opened := time.Now()
			honest(700*time.Millisecond, func(*fakeRequest) {
				if age := time.Since(opened); age > n.session+3*time.Second {
					t.Errorf("a request came %s after the login", age)
				}
			})(c)
		}
		h := newHistory()
		p, err := newPipeline(testConfig(linger(0), func(c *config.Producer) { c.MaxInFlight = 3 }), n, h.complete, nil)
		if err != nil {
			t.Fatal(err)
		}
		for ref := range uint64(300) {
			if err := h.send(p, ref, 0, 8); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
		}
		h.wait()
		st := p.Stats()
		end(t, p)
		if acked, _, _ := h.check(t, n.refs()); acked != 300 {
			t.Errorf("%d records acknowledged, want 300", acked)
		}
		if st.ConnectionsOpened < 5 || st.ConnectionsFailed != 0 || st.BatchesRetried != 0 {
			t.Errorf("%d connections opened, %d failed, %d batches retried; want 5 or more and none", st.ConnectionsOpened, st.ConnectionsFailed, st.BatchesRetried)
		}
		n.stop()
	})
}

// TestLoginsLiveShort has brokers that want a new login every 600 ms, and end
// connections that do not bring one.
func TestLoginsLiveShort(t *testing.T) { onTransports(t, testLoginsLiveShort) }

func testLoginsLiveShort(t *testing.T, transport func(*config.Producer)) {
	conf := config.Default().Cluster
	conf.SASL = config.SASL{Mechanism: "SCRAM-SHA-256", Username: "u", Password: "p"}
	k := startKafkaFor(t, conf, 1, 3, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "u", "p"),
		kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": "600"}))
	h := newHistory()
	p := k.pipeline(h, transport, linger(0))
	sent := uint64(0)
	for ; p.Stats().ConnectionsOpened < 4; sent++ {
		if err := h.send(p, sent, int32(sent%3), 100); err != nil {
			t.Fatal(err)
		}
		h.wait()
	}
	st := p.Stats()
	end(t, p)
	t.Logf("%d records, %d connections, %d of them ended by the broker", sent, st.ConnectionsOpened, st.ConnectionsFailed)
	h.mu.Lock()
	defer h.mu.Unlock()
	for ref := range sent {
		if err, ok := h.ends[ref]; !ok || err != nil {
			t.Fatalf("record %d: completed %t, %v", ref, ok, err)
		}
	}
	for part := range int32(3) {
		if got, want := k.PartitionInfo("t", part).HighWatermark, int64((sent+2-uint64(part))/3); got != want {
			t.Errorf("partition %d has %d records, want %d", part, got, want)
		}
	}
}
