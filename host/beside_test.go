package host_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
)

// Sends with and without plugins, flushes, counts and a Close, all beside each
// other: slots taken in advance count for nobody, each record that was accepted
// completes once, and records of one goroutine keep their order.
func TestSendsBesideFlushCountsAndClose(t *testing.T) {
	const senders, each = 4, 3000
	b := startBroker(t, 3, "plain", "judged")
	h := newHost(t, b, func() host.Config { c := chainOf("judged"); c.Producer.Slots = 3000; return c }(),
		host.WithInterceptor("j", judge{send: func(it *interceptor.Item) {
			if it.Record.Value[len(it.Record.Value)-1] == '7' {
				it.Drop("seven")
			}
		}}))
	p := producerOf(t, h)
	var accepted, completed, twice atomic.Int64
	// Close comes when most, not all, are accepted.
	closing := make(chan struct{})
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			topic := [2]string{"plain", "judged"}[s%2]
			for i := range each {
				var once atomic.Bool
				rec := klamm.Record{Topic: topic, Key: fmt.Appendf(nil, "%d", s), Value: fmt.Appendf(nil, "%d-%06d", s, i)}
				err := p.SendAsync(context.Background(), &rec, func(klamm.Result) {
					if once.Swap(true) {
						twice.Add(1)
					}
					completed.Add(1)
				})
				switch {
				case errors.Is(err, klamm.ErrClosed):
					return
				case err != nil:
					t.Error(err)
					return
				}
				if accepted.Add(1) == senders*each*3/4 {
					close(closing)
				}
			}
		})
	}
	stop := make(chan struct{})
	var beside sync.WaitGroup
	again := func(f func()) {
		beside.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	in := int64(0)
	again(func() {
		c := p.Counts()
		// A Send counts before it returns, so each sender may be one ahead.
		if most := accepted.Load() + senders; c.In < in || c.In > most {
			t.Errorf("%d records in after %d, and at most %d were accepted", c.In, in, most)
		}
		in = c.In
	})
	again(func() {
		if err := p.Flush(within(t)); err != nil {
			t.Error(err)
		}
	})
	<-closing
	if err := p.Close(within(t)); err != nil {
		t.Error(err)
	}
	all.Wait()
	close(stop)
	beside.Wait()
	if accepted.Load() != completed.Load() || twice.Load() > 0 {
		t.Errorf("%d accepted, %d completed, %d of them twice", accepted.Load(), completed.Load(), twice.Load())
	}
	balanced(t, p.Counts(), accepted.Load())
	for _, topic := range []string{"plain", "judged"} {
		last := map[string]string{}
		for _, r := range readTopic(t, b, topic) {
			k, v := string(r.Key), string(r.Value)
			if v <= last[k] {
				t.Fatalf("topic %s: %s comes after %s", topic, v, last[k])
			}
			last[k] = v
		}
	}
}
