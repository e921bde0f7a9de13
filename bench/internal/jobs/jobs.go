// Package jobs are the ways to write one job: consume, drop duplicates by their
// id, route, produce.
package jobs

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Config says what a job reads, writes and remembers.
type Config struct {
	Job     string            `json:"job"`
	Brokers []string          `json:"brokers"`
	In      string            `json:"in"`
	Out     string            `json:"out"`
	Group   string            `json:"group"`
	State   string            `json:"state,omitempty"`   // of klamm: memory or kafka
	Path    string            `json:"path,omitempty"`    // of kafka, the topic
	Modules map[string]string `json:"modules,omitempty"` // of klamm's plugins
	Redis   string            `json:"redis,omitempty"`
	Cache   string            `json:"cache,omitempty"`
	Profile string            `json:"profile,omitempty"`
	// Records ends the job when it has handled as many; 0: it goes on.
	Records int64 `json:"records"`
}

// window is how many ids a job remembers: all of a benchmark's.
const window = 2_000_000

// Job is one that is set up and has read nothing yet.
type Job interface {
	// Run works until the job's records are handled and committed, or ctx ends.
	Run(ctx context.Context) error
	Close() error
}

// Ender is a job whose Run ends later than its work: it also leaves its group.
type Ender interface {
	// Ended is when the last record was handled, or the last commit made.
	Ended() time.Time
}

// Beginner is a job that is timed from its first record, since what comes before, as
// the balance of its group, weighs more in its few records than in those of others.
type Beginner interface {
	Began() time.Time
}

// PartitionsMax is how many partitions an input may have.
const PartitionsMax = 1024

// sequence sees to it that each record of an input is read once, in the order of
// its partition. Partitions may be read at the same time.
type sequence struct{ next [PartitionsMax]int64 }

func (s *sequence) see(partition int32, offset int64) error {
	if want := s.next[partition]; offset != want {
		return fmt.Errorf("partition %d: read offset %d after offset %d", partition, offset, want-1)
	}
	s.next[partition]++
	return nil
}

// stamp is a moment that several goroutines may set.
type stamp struct{ at atomic.Int64 }

func (s *stamp) now()             { s.at.Store(time.Now().UnixNano()) }
func (s *stamp) once()            { s.at.CompareAndSwap(0, time.Now().UnixNano()) }
func (s *stamp) Ended() time.Time { return time.Unix(0, s.at.Load()) }

// Open sets a job up.
func Open(cfg Config) (Job, error) {
	switch cfg.Job {
	case "klamm":
		return openKlamm(cfg)
	case "franz-go":
		return openFranz(cfg)
	case "read-klamm":
		return openKlammReader(cfg)
	case "read-franz-go":
		return openFranzReader(cfg)
	case "read-sarama":
		return openSaramaReader(cfg)
	case "redis":
		return openRedis(cfg)
	}
	return nil, fmt.Errorf("unknown job %q", cfg.Job)
}

// counted ends a job by the number of records that it has handled.
type counted struct {
	left atomic.Int64
	on   bool
}

func newCounted(n int64) *counted {
	c := &counted{on: n > 0}
	c.left.Store(n)
	return c
}

// handled takes n off and reports whether all are handled.
func (c *counted) handled(n int64) bool { return c.on && c.left.Add(-n) <= 0 }
