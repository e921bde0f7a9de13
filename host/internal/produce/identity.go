package produce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
)

// identity is the producer id and epoch that new batches are stamped with. The
// epoch rises without asking a broker (KIP-360); when it cannot rise further a
// new producer id is asked for.
type identity struct {
	now   atomic.Pointer[stamp] // nil while a producer id is asked for
	mu    sync.Mutex
	ask   func() // starts asking; called with mu held
	bumps atomic.Int64
}

// current returns the identity, nil when there is none at the moment.
func (i *identity) current() *stamp { return i.now.Load() }

// after returns an identity other than used. It is the current one if used is
// older, so that partitions that fail together share one new epoch. It is nil
// while a producer id is asked for.
func (i *identity) after(used *stamp) *stamp {
	i.mu.Lock()
	defer i.mu.Unlock()
	current := i.now.Load()
	if current == nil || current != used {
		return current
	}
	i.bumps.Add(1)
	if current.epoch == math.MaxInt16 {
		i.now.Store(nil)
		i.ask()
		return nil
	}
	next := &stamp{current.producerID, current.epoch + 1}
	i.now.Store(next)
	return next
}

// askProducerID asks for a producer id until there is one, the pipeline ends,
// or a broker refuses for good.
func (p *Pipeline) askProducerID() {
	defer p.running.Done()
	for failures := 1; ; failures++ {
		ctx, cancel := context.WithTimeout(p.ctx, p.set.request)
		id, epoch, err := p.net.producerID(ctx)
		cancel()
		if err == nil {
			p.stuck.Store(nil)
			p.identity.now.Store(&stamp{id, epoch})
			p.log.Debug("producer id assigned", slog.Int64("producer_id", id), slog.Int("epoch", int(epoch)))
			p.kickAll()
			return
		}
		err = fmt.Errorf("get a producer id (InitProducerId): %w", err)
		if fatal(err) {
			p.fail(fmt.Errorf("the producer has stopped: %w", err))
			return
		}
		p.stuck.Store(&err)
		if failures == 1 && p.ctx.Err() == nil {
			p.log.Warn("no producer id yet", slog.Any("err", err))
		}
		if !p.sleep(p.set.backoff.after(failures)) {
			return
		}
	}
}

// sleep waits for d. It reports false when the pipeline ended first.
func (p *Pipeline) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// fatal reports whether err is a broker's answer after which no record of this
// producer can be written.
func fatal(err error) bool {
	var broker *klamm.BrokerError
	return errors.As(err, &broker) && ruleOf(broker.Code).do == failAll
}
