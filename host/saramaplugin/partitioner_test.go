package saramaplugin_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/saramaplugin"
	"github.com/klamm-io/klamm/partitioner"
)

func TestPartitioner(t *testing.T) {
	b := startBroker(t, 7, "orders")
	h := newHost(t, b, host.Config{
		Plugin: map[string]host.PluginConfig{"tenants": {
			Module: "builtin:route-by", Timeout: host.Duration(5 * time.Second), Config: map[string]any{"by": "header:tenant"},
		}},
		Chain: map[string]host.ChainConfig{"c": {Topics: []string{"orders"}, Partitioner: "tenants"}},
	})
	murmur := func(k string) int32 { return int32(partitioner.Murmur2([]byte(k))&0x7fffffff) % 7 }
	tests := []struct {
		name, of string
		want     func(i int, seen map[int]int32) func(int32) bool
	}{
		{"a plugin", "tenants", byTenant},
		{"a chain's", "c", byTenant},
		{"Java's default", "default", func(i int, _ map[int]int32) func(int32) bool {
			return func(to int32) bool { return to == murmur(fmt.Sprint(i)) }
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := settings()
			cfg.Producer.Partitioner = saramaplugin.Partitioner(h, tt.of)
			p := syncOf(t, h, b, cfg)
			seen := map[int]int32{}
			for i := range 60 {
				to, _, err := p.SendMessage(&sarama.ProducerMessage{
					Topic: "orders", Key: key(i), Headers: []sarama.RecordHeader{{Key: []byte("tenant"), Value: fmt.Appendf(nil, "t%d", i%5)}},
				})
				if err != nil || !tt.want(i, seen)(to) {
					t.Fatalf("message %d: partition %d, error %v", i, to, err)
				}
			}
		})
	}
	t.Run("unknown", func(t *testing.T) {
		cfg := settings()
		cfg.Producer.Partitioner = saramaplugin.Partitioner(h, "tenatns")
		p := syncOf(t, h, b, cfg)
		if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: "orders"}); err == nil || !strings.Contains(err.Error(), "tenatns") {
			t.Fatalf("error %v, want one that names the partitioner", err)
		}
	})
}

// byTenant wants one partition for each of five tenants.
func byTenant(i int, seen map[int]int32) func(int32) bool {
	return func(to int32) bool {
		if _, ok := seen[i%5]; !ok {
			seen[i%5] = to
		}
		return seen[i%5] == to
	}
}
