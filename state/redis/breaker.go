package redis

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klamm-io/klamm/state"
)

// breaker keeps records from waiting, one after the other, for a Redis that does
// not answer.
type breaker struct {
	failures int
	last     error
	until    time.Time // no question before
}

const (
	breakerFailures = 3
	breakerCooldown = time.Second
)

// ready returns why Redis is not to be asked now.
func (b *backend) ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fenced != nil {
		return b.wrap(b.fenced)
	}
	if b.breaker.failures >= breakerFailures && b.now().Before(b.breaker.until) {
		return b.wrap(b.breaker.last)
	}
	return nil
}

// unavailable is called under the mutex.
func (b *backend) unavailable() error {
	switch {
	case b.fenced != nil:
		return b.wrap(b.fenced)
	case b.breaker.last != nil:
		return b.wrap(b.breaker.last)
	}
	return nil
}

// note counts how a round trip ended.
func (b *backend) note(err error) {
	b.mu.Lock()
	k := &b.breaker
	was := k.last
	if err == nil {
		*k = breaker{}
	} else {
		k.failures++
		k.last, k.until = err, b.now().Add(breakerCooldown)
		b.health.Failures++
	}
	b.mu.Unlock()
	switch {
	case err != nil && was == nil:
		b.o.Logger.Error("state in Redis: no answer", "state", b.o.Name, "redis", b.health.Where, "err", err)
	case err == nil && was != nil:
		b.o.Logger.Info("state in Redis: answers again", "state", b.o.Name, "redis", b.health.Where)
	}
}

func (b *backend) wrap(err error) error {
	return fmt.Errorf("redis at %s: %w: %w: mend it, or set on_unavailable = \"pass\"", b.health.Where, state.ErrUnavailable, advised(err))
}

// advised says what is to be done about an answer that does not.
func advised(err error) error {
	if redis.HasErrorPrefix(err, "OOM") {
		return fmt.Errorf("%w It has no memory left: raise maxmemory, or give the plugin a shorter window", err)
	}
	return err
}
