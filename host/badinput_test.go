package host_test

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// TestBadInputIsTold reads each error as whoever calls Send does: it says what was
// tried, on what, why, and what to do, and is found by errors.Is.
func TestBadInputIsTold(t *testing.T) {
	b := startBroker(t, 2, "orders")
	h := newHost(t, b, host.Config{})
	p := producerOf(t, h)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	send := func(ctx context.Context, rec *klamm.Record) error { _, err := p.Send(ctx, rec); return err }
	expect := func(name string, err error, is error, want string) {
		t.Helper()
		if err == nil || is != nil && !errors.Is(err, is) || !regexp.MustCompile("^"+want+"$").MatchString(err.Error()) {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, want)
		}
	}
	expect("too large", send(t.Context(), &klamm.Record{Topic: "orders", Value: make([]byte, 2<<20)}), klamm.ErrRecordTooLarge,
		`send to "orders": record too large: 20\d{5} bytes, max_request_size is 1048576; raise it, and the topic's max.message.bytes, or send less`)
	expect("unknown topic", send(t.Context(), &klamm.Record{Topic: "nowhere"}), klamm.ErrUnknownTopic,
		`topic "nowhere": no broker knows it; mend its name, create it, or set allow_auto_create_topics: UNKNOWN_TOPIC_OR_PARTITION \(3\)`)
	expect("bad topic", send(t.Context(), &klamm.Record{Topic: "or ders"}), klamm.ErrInvalidTopic, `send: .*"or ders".*`)
	expect("partition out of range", send(t.Context(), &klamm.Record{Topic: "orders", Target: klamm.ToPartition(7)}), klamm.ErrInvalidPartition,
		`.*invalid partition: 7 demanded by the record or a plugin, topic "orders" has partitions 0 to 1`)
	expect("negative partition", send(t.Context(), &klamm.Record{Topic: "orders", Target: klamm.ToPartition(-3)}), klamm.ErrInvalidPartition,
		`send to "orders": .*invalid partition: -3 is negative`)
	expect("no record", send(t.Context(), nil), nil, "send: the record is nil")
	expect("cancelled", send(cancelled, &klamm.Record{Topic: "orders"}), context.Canceled, `send to "orders": context canceled`)
	if c := p.Counts(); c.InFlight != 0 || c.Out != 0 {
		t.Errorf("counted %+v", c)
	}
	if err := h.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	expect("closed", send(t.Context(), &klamm.Record{Topic: "orders"}), klamm.ErrClosed, `.*producer.*closed`)

	on := true
	cfg := host.Config{Producer: host.ProducerConfig{EnableIdempotence: &on, MaxInFlight: 9, Linger: host.Duration(5 * time.Minute), DeliveryTimeout: host.Duration(time.Minute)}}
	cfg.Cluster.BootstrapServers = b.Addrs()
	_, err := host.New(cfg)
	expect("contradictions, all at once", err, nil, `(?s).*max_in_flight_requests_per_connection = 9 contradicts enable_idempotence = true.*linger_ms 5m is larger than delivery_timeout_ms 1m.*`)
}
