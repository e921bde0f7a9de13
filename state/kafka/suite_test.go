package kafka_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/klamm-io/klamm/state"
	"github.com/klamm-io/klamm/state/backendtest"
	"github.com/klamm-io/klamm/state/kafka"
	"github.com/klamm-io/klamm/state/kafka/kafkatest"
)

func TestSuite(t *testing.T) {
	var mu sync.Mutex
	logs := map[string]*kafka.FakeLog{}
	open := func(dir string, maxEntries int, maxBytes int64) (state.Backend, error) {
		mu.Lock()
		log := logs[dir]
		if log == nil {
			log = kafka.NewFakeLog()
			logs[dir] = log
		}
		mu.Unlock()
		b := kafka.New(kafka.Options{
			Name: "ids", Topic: "t", Pipeline: "p", MaxEntries: maxEntries, MaxBytes: maxBytes, Log: log,
			Source: func(state.Ref) (int32, bool) { return 0, true },
			Now:    func() time.Time { return time.UnixMilli(0) },
		})
		ctx := context.Background()
		if err := b.Open(ctx, 1); err != nil {
			return nil, err
		}
		if log.Pick(2) == 0 {
			log.Compact(0, log.Pick(2) == 0)
		}
		b.Assign(0)
		return &kafkatest.OneByOne{Backend: b, Commit: log.Commit}, b.Await(ctx, 0)
	}
	backendtest.Run(t, backendtest.Kit{Open: open, Reopen: open, LocalValues: true})
}
