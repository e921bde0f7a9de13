package host_test

import (
	"context"
	"strings"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/hosttest"
)

// acks = 0 is a zero that says something: it is kept where the configuration
// started from the defaults, and means the default where it did not.
func TestNewWithoutAcknowledgements(t *testing.T) {
	whole := host.DefaultConfig()
	whole.Producer.Acks = host.AcksNone
	for _, tt := range []struct {
		name string
		cfg  host.Config
		want int64
	}{
		{"from the defaults", whole, klamm.NoOffset},
		{"from nothing", host.Config{Producer: host.ProducerConfig{Acks: host.AcksNone}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := host.New(tt.cfg, host.WithEmbedded(hosttest.Embedded))
			if err != nil {
				t.Fatal(err)
			}
			defer closeHost(t, h)
			p, err := h.Producer()
			if err != nil {
				t.Fatal(err)
			}
			r, err := p.Send(t.Context(), &klamm.Record{Topic: "orders", Value: []byte("v")})
			if err != nil || r.Outcome != klamm.Written || r.Offset != tt.want {
				t.Errorf("got %s at offset %d, error %v; want out at %d", r.Outcome, r.Offset, err, tt.want)
			}
		})
	}
}

// What no decoder has looked at is checked all the same, and all at once.
func TestNewReportsEveryMistake(t *testing.T) {
	_, err := host.New(host.Config{
		Cluster:  host.ClusterConfig{BootstrapServers: []string{"embedded"}},
		Producer: host.ProducerConfig{Compression: 9, Linger: -1},
		Consumer: host.ConsumerConfig{AutoOffsetReset: "earlyest"},
		Plugin:   map[string]host.PluginConfig{"dedup": {Module: "builtin:dedup", OnError: "fial"}},
		Chain:    map[string]host.ChainConfig{"orders": {Topics: []string{"orders"}, OnSend: []string{"dedupe"}}},
	}, host.WithEmbedded(hosttest.Embedded))
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"compression_type: error: \"compression(9)\" is none of", "producer.linger_ms: error: -1ns is too small\n  the least is 0s", "auto_offset_reset", "earliest", "on_error", `"fail"`, `"dedupe"`, `"dedup"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is missing in:\n%v", want, err)
		}
	}
}

func TestHostWithoutAProducer(t *testing.T) {
	h, err := host.Load(t.Context(), host.DefaultConfig(), ".")
	if err != nil {
		t.Fatal(err)
	}
	defer closeHost(t, h)
	if _, err := h.Producer(); err == nil || !strings.Contains(err.Error(), "use Open or New") {
		t.Errorf("got %v", err)
	}
}

func closeHost(t *testing.T, h *host.Host) {
	t.Helper()
	if err := h.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
