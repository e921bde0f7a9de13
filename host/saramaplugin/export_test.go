package saramaplugin

import (
	"time"

	"github.com/IBM/sarama"
)

// Verdicts is how many messages have a verdict that may be asked for.
func Verdicts() int64 { return verdicts.size.Load() }

// Limit sets how many messages may be in flight. Before the first one.
func Limit(p sarama.AsyncProducer, n int) {
	f := p.(*asyncProducer).flight
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = n
}

// Grace sets how long Close waits for other producers' messages. Before Close.
func Grace(p sarama.AsyncProducer, d time.Duration) { p.(*asyncProducer).grace = d }
