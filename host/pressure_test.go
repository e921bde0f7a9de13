package host_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
)

// Where memory and slots are short, what lanes have taken of both in advance holds
// nobody up, and everything balances in the end.
func TestLanesUnderPressure(t *testing.T) {
	b := startBroker(t, 3, "orders", "other")
	cfg := chainOf("orders")
	c := cfg.Chain["c"]
	c.Lanes = 4
	cfg.Chain["c"] = c
	const senders, each = 8, 800
	cfg.Producer.BufferMemory, cfg.Producer.MaxRequestSize = pressed, pressed
	cfg.Producer.Slots = 1500
	cfg.Producer.MaxBlock = host.Duration(time.Hour)
	h := newHost(t, b, cfg, host.WithInterceptor("j", judge{send: judgedAtRandom}))
	p := producerOf(t, h)
	var done atomic.Int64
	var sending sync.WaitGroup
	for sender := range uint64(senders) {
		sending.Go(func() {
			rng := rand.New(rand.NewPCG(sender, 5))
			for i := range each {
				if err := p.SendAsync(within(t), anyRecord(rng, i), func(klamm.Result) { done.Add(1) }); err != nil {
					t.Error(err)
					return
				}
				if rng.IntN(300) == 0 {
					h.Stats()
					if err := p.Flush(within(t)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	sending.Wait()
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	if n := p.Counts(); n.In != senders*each || done.Load() != n.In || n.InFlight != 0 || !n.Balanced() || n.Dropped == 0 || n.Failed == 0 {
		t.Errorf("%+v, %d callbacks: want %d of each in balance", n, done.Load(), senders*each)
	}
	if s := h.Stats().Produce; s.BufferAvailable != pressed {
		t.Errorf("%d bytes available of %d", s.BufferAvailable, pressed)
	}
}

// pressed is buffer_memory.
const pressed = 256 << 10

// anyRecord is small most often, and sometimes takes nearly all memory.
func anyRecord(rng *rand.Rand, i int) *klamm.Record {
	topic, size := "orders", rng.IntN(500)
	if rng.IntN(40) == 0 {
		size = pressed - 100 - rng.IntN(2)*rng.IntN(pressed/2)
	}
	if rng.IntN(4) == 0 {
		topic = "other"
	}
	return &klamm.Record{Topic: topic, Key: fmt.Appendf(nil, "%d", i%97), Value: make([]byte, size)}
}

func judgedAtRandom(it *interceptor.Item) {
	switch rand.IntN(10) {
	case 0:
		it.Drop("at random")
	case 1:
		it.Record.Value = append([]byte("longer"), it.Record.Value...)
	case 2:
		it.Fail(errors.New("at random"))
	}
}
