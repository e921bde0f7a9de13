// Package state keeps what the host remembers for plugins.
package state

import (
	"log/slog"
	"time"

	"github.com/klamm-io/klamm"
)

type Ref uint64

type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

type Options struct {
	Now    func() time.Time
	Logger *slog.Logger
}

type StoreConfig struct {
	Backend    string
	MaxEntries int
	MaxBytes   int64
	ScopeTopic bool
}

type SpaceOptions struct {
	HoldUnknown bool
}

const (
	Confirmed int32 = 0
	New       int32 = 1
	Pending   int32 = 2
	Refused   int32 = -1
)

type Answer struct {
	Code  int32
	Fresh bool
	At    Position
	Wait  *Wait
}

type Settlement struct {
	Outcome        klamm.Outcome
	Unknown        bool
	At             Position
	Plugin, Reason string
	Err            error
	NowMS          int64
}

type Resolution struct {
	Waiter         Ref
	Outcome        klamm.Outcome
	Plugin, Reason string
	Err            error
	At             Position
}

type SpaceStats struct {
	State, Plugin string
}

type Ledger struct{}
type Space struct{}
type Wait struct{}

func NewLedger(opts Options) *Ledger                      { panic("state: unwritten") }
func (l *Ledger) Open(name string, cfg StoreConfig) error { panic("state: unwritten") }
func (l *Ledger) Space(state, plugin string, o SpaceOptions) (*Space, error) {
	panic("state: unwritten")
}
func (l *Ledger) Settle(owner Ref, s Settlement) []Resolution { panic("state: unwritten") }
func (l *Ledger) Stats() []SpaceStats                         { panic("state: unwritten") }
func (l *Ledger) Close() error                                { panic("state: unwritten") }
func (s *Space) Claim(owner Ref, topic string, id []byte, ttl time.Duration, nowMS int64) Answer {
	panic("state: unwritten")
}
func (s *Space) Undo(owner Ref, topic string, id []byte)    { panic("state: unwritten") }
func (s *Space) Get(key []byte, nowMS int64) ([]byte, bool) { panic("state: unwritten") }
func (s *Space) Put(key, value []byte, ttl time.Duration, nowMS int64) error {
	panic("state: unwritten")
}
func (w *Wait) Commit(waiter Ref, plugin string) (r Resolution, settled bool) {
	panic("state: unwritten")
}
func (w *Wait) Cancel() { panic("state: unwritten") }
