// Package clients are the Go producers under test, each driven the way its own
// documentation shows for throughput, and with the settings that Settings names.
package clients

import (
	"fmt"

	"github.com/klamm-io/klamm/bench/internal/drive"
)

// Settings says how each client is set up, besides what all share: acks=all,
// 5 ms linger where a linger is set at all, a callback for each record, and one
// Go processor.
var Settings = map[string]string{
	"klamm":             "defaults: idempotent, linger 5 ms, batches of 16 KiB, 32 MiB of buffer, 131,072 slots",
	"klamm-tuned":       "batches of 64 KiB, 64 MiB of buffer",
	"franz-go":          "defaults but the codec: idempotent, linger 10 ms, batches of 1 MB, 50,000 records buffered",
	"franz-go-tuned":    "linger 5 ms, 250,000 records buffered, record structs from a pool",
	"sarama":            "AsyncProducer, not idempotent, acks=all, 5 requests in flight, flush every 5 ms or 512 KiB",
	"sarama-idempotent": "AsyncProducer, idempotent (one request in flight), flush every 5 ms or 512 KiB",
}

// Open makes a client.
func Open(cfg drive.Config) (drive.Client, error) {
	switch cfg.Client {
	case "klamm", "klamm-tuned":
		return openKlamm(cfg)
	case "franz-go", "franz-go-tuned":
		return openFranz(cfg)
	case "sarama", "sarama-idempotent":
		return openSarama(cfg)
	}
	return nil, fmt.Errorf("unknown client %q", cfg.Client)
}
