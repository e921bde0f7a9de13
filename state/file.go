package state

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// FileOptions of NewFile.
type FileOptions struct {
	// Path of the file. It is made, readable by its owner alone, where there is
	// none. PATH.lock and, for a while, PATH.new stand beside it.
	Path string
	// Name and Scope are the state's. A file with others is refused.
	Name, Scope string
	// MaxEntries and MaxBytes are as in StoreConfig.
	MaxEntries int
	MaxBytes   int64
	// SyncInterval is how often what was written is forced to the disk. A power
	// cut forgets that much at most; a process that is killed forgets nothing
	// that Flush returned for. 0 forces it with every write.
	SyncInterval time.Duration
	// Pass goes on while nothing can be written, remembering in memory alone.
	// Default: claims are refused then.
	Pass bool
	// Logger gets what went wrong and was mended. Default: nothing is logged.
	Logger *slog.Logger

	fs    fileSystem
	retry time.Duration // after a write that failed
	slack int64         // bytes of what has gone that are not worth a rewrite
}

const (
	defaultRetry = time.Second
	defaultSlack = 4 << 20
	lazyWrite    = 5 * time.Millisecond // what nobody waits for is written that late
	eagerWrite   = 256 << 10            // bytes that are written without being asked
	// backlogMax is the operations that wait for a disk. With more, the file is
	// written anew from memory when the disk is back.
	backlogMax = 16 << 20
)

// file is memory with a log behind it. What its calls did is appended to a
// frame, which a goroutine writes: group commit.
type file struct {
	o    FileOptions
	lock *os.File

	mu      sync.Mutex // guards what follows, up to the blank line
	m       *memory
	buckets map[string]*fileBucket
	pending frame
	batch   uint64        // the number of pending; those before it were taken
	done    uint64        // batches up to it are safe
	defined int           // origins that the file and pending define
	gone    int           // ids let go at opening, told with the next one remembered
	lost    bool          // pending was given up: the file must be written anew
	failure error         // why the last write did not succeed
	turn    chan struct{} // closed when done or failure changes
	health  Health
	closed  bool

	w writer
}

var _ Durable = (*file)(nil)

// NewFile returns a Durable that keeps what memory does and writes it to a file.
//
// It never drops what was not written: what the file has lost, to a crash or a
// full disk, is an id that is forgotten. A file that was damaged later, that
// another process has open, or that is of another state or version, is refused.
func NewFile(o FileOptions) (Durable, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.fs == nil {
		o.fs = disk{}
	}
	if o.retry == 0 {
		o.retry = defaultRetry
	}
	if o.slack == 0 {
		o.slack = defaultSlack
	}
	f := &file{o: o, buckets: make(map[string]*fileBucket), pending: newFrame(), batch: 1, turn: make(chan struct{})}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("state file %q: %w", o.Path, err)
	}
	f.w.start(f)
	return f, nil
}

func (f *file) Key() Key { return f.m.key }

func (f *file) Bucket(plugin string) Bucket {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.buckets[plugin]
	if b == nil {
		b = &fileBucket{f: f, mem: f.m.Bucket(plugin).(*memoryBucket)}
		f.buckets[plugin] = b
	}
	return b
}

// note is called under the mutex when an operation was appended.
func (f *file) note(before int) {
	switch {
	case len(f.pending) > backlogMax:
		f.giveUp()
		f.w.wake()
	case before <= frameHead:
		f.w.wakeSoon()
	case before <= eagerWrite && len(f.pending) > eagerWrite:
		f.w.wake()
	}
}

// giveUp forgets what waits for the disk. Memory has it all.
func (f *file) giveUp() {
	f.lost = true
	f.pending = newFrame()
}

// define names the origins that are new.
func (f *file) define() {
	for ; f.defined < len(f.m.origins); f.defined++ {
		o := &f.m.origins[f.defined]
		f.pending = f.pending.origin(o.bucket.plugin, o.topic)
	}
}

// refusal is why claims cannot be answered now.
func (f *file) refusal() error {
	if f.o.Pass {
		return nil
	}
	return f.failure
}

func (f *file) Flush(limit time.Duration) error {
	f.mu.Lock()
	target := f.batch - 1
	if !f.pending.empty() || f.lost {
		target = f.batch
	}
	if f.done >= target {
		f.mu.Unlock()
		return nil
	}
	f.w.wake()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for f.done < target && f.failure == nil && !f.closed {
		turn := f.turn
		f.mu.Unlock()
		select {
		case <-turn:
		case <-timer.C:
			return f.stuck(limit)
		}
		f.mu.Lock()
	}
	defer f.mu.Unlock()
	if f.done < target && f.failure == nil {
		return fmt.Errorf("state file %q: %w: it was closed", f.o.Path, ErrUnavailable)
	}
	if f.done < target {
		return f.failure
	}
	return nil
}

// stuck notes that the disk takes its time: claims are refused until it is done.
func (f *file) stuck(limit time.Duration) error {
	err := fmt.Errorf("state file %q: %w: nothing was written for %s: mend the disk, or set on_unavailable = \"pass\"", f.o.Path, ErrUnavailable, limit)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.health.Failures++
	if f.failure == nil {
		f.failure = err
	}
	return err
}

func (f *file) Health() Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.health
	h.Where, h.Err, h.Behind = f.o.Path, f.failure, int64(len(f.pending)-frameHead)
	return h
}

// Close writes what is left, forces it to the disk and lets the file go.
func (f *file) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	f.mu.Unlock()
	return f.w.close()
}

// fileBucket is one plugin's part.
type fileBucket struct {
	f   *file
	mem *memoryBucket
}

func (b *fileBucket) Find(id ID, nowMS int64) (Position, bool, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refusal(); err != nil {
		return Position{}, false, err
	}
	slot := f.m.find(&id)
	if slot == 0 {
		return Position{}, false, nil
	}
	return b.findLocked(slot, nowMS)
}

// findAt implements holder.
func (b *fileBucket) findAt(slot uint32, nowMS int64) (Position, bool, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refusal(); err != nil {
		return Position{}, false, err
	}
	return b.findLocked(slot, nowMS)
}

// findLocked finds the id of a slot, and writes that it goes where its time is over.
func (b *fileBucket) findLocked(slot uint32, nowMS int64) (Position, bool, error) {
	f := b.f
	id, before := f.m.at(slot).id, f.m.count
	at, ok, err := b.mem.findAt(slot, nowMS)
	if f.m.count < before && !f.lost {
		n := len(f.pending)
		f.pending = f.pending.forget(id)
		f.note(n)
	}
	return at, ok, err
}

// Remember remembers also while nothing can be written: the record is in its
// topic, and its duplicates come to this process first.
func (b *fileBucket) Remember(id ID, at Position, expiresMS, nowMS int64) error {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.m.count
	if err := b.mem.Remember(id, at, expiresMS, nowMS); err != nil {
		return err
	}
	f.remembered(before, b.mem.origin(at.Topic), id, at, expiresMS)
	return nil
}

// remembered writes that id is the newest. before is how many there were.
func (f *file) remembered(before int, origin uint32, id ID, at Position, expiresMS int64) {
	f.gone += before + 1 - f.m.count
	if !f.lost {
		n := len(f.pending)
		f.define()
		f.pending = f.pending.remember(origin, id, at.Partition, at.Offset, expiresMS, f.gone)
		f.note(n)
	}
	f.gone = 0
}

func (b *fileBucket) Get(key []byte, nowMS int64) ([]byte, bool, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	before := b.mem.usage.Values
	value, ok, err := b.mem.Get(key, nowMS)
	if b.mem.usage.Values < before && !f.lost {
		n := len(f.pending)
		origin := b.mem.origin("")
		f.define()
		f.pending = f.pending.remove(origin, string(key))
		f.note(n)
	}
	return value, ok, err
}

func (b *fileBucket) Put(key, value []byte, expiresMS, nowMS int64) error {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refusal(); err != nil {
		return err
	}
	if err := b.mem.Put(key, value, expiresMS, nowMS); err != nil {
		return err
	}
	origin := b.mem.origin("") // also for a rewrite
	if !f.lost {
		n := len(f.pending)
		f.define()
		f.pending = f.pending.put(origin, string(key), value, expiresMS)
		f.note(n)
	}
	return nil
}

func (b *fileBucket) Usage() Usage {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	return b.mem.Usage()
}

var _ holder = (*fileBucket)(nil)

// index is for calls under the ledger's mutex alone: the file's writer reads
// entries and no index.
func (b *fileBucket) index() *ids { return &b.f.m.ids }

func (b *fileBucket) refusal() error {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	return b.f.refusal()
}

func (b *fileBucket) confirm(fl *flight, topic string, nowMS int64, all []confirmation) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range all {
		c := &all[i]
		before := f.m.count
		b.mem.confirm(fl, topic, nowMS, all[i:i+1])
		f.remembered(before, b.mem.origin(topic), fl.claims[c.claim].id, Position{Topic: topic, Partition: c.partition, Offset: c.offset}, c.expiresMS)
	}
}
