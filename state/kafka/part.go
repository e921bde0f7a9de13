package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// part is one partition. While it is restoring, its goroutine alone uses the
// window, next and gone; otherwise the backend's mutex guards them.
type part struct {
	id     int32
	phase  phase
	whole  bool // on standby: nothing that was committed before is missing
	window *state.Window
	next   int64 // the log is in the window up to here
	// gone are ids that have left the window and not the log. They get a
	// tombstone in the next transaction.
	gone   map[state.ID]struct{}
	buried []state.ID // of them, those whose tombstones are in the open transaction
	staged []staged   // in the order of the log

	done         chan struct{} // closed when the reading ends
	cancel       context.CancelFunc
	err          error // why it failed
	names        names
	last         state.Bucket // of plugin, in window
	plugin       string
	applied, end atomic.Int64
	forgetting   *time.Timer
}

type phase uint8

const (
	restoring phase = iota
	ready
	standby // revoked, and kept for a while
)

// staged is an id of the open transaction.
type staged struct {
	id    state.ID
	claim claim
	done  bool // it is in the window
	back  bool // it was gone, and its tombstone was not written yet
}

// goneMax bounds the ids that wait for a tombstone. Those above it are met again
// when the partition is read back.
const goneMax = 1 << 17

// buryMost is how many tombstones one transaction has beside one for each id.
const buryMost = 4096

func (b *Backend) newPart(id int32) *part {
	p := &part{id: id, gone: make(map[state.ID]struct{}), names: make(names)}
	p.window = state.NewWindow(b.limit, p.let)
	return p
}

// let notes an id that left the window.
func (p *part) let(id state.ID) {
	if len(p.gone) < goneMax {
		p.gone[id] = struct{}{}
	}
}

// bucket is the plugin's; most calls are for the plugin of the call before.
func (p *part) bucket(plugin string) state.Bucket {
	if p.last == nil || p.plugin != plugin {
		p.last, p.plugin = p.window.Bucket(plugin), plugin
	}
	return p.last
}

// Assign begins to read partitions' ids back. One that was revoked a moment ago
// goes on from there. Await tells when they are there.
func (b *Backend) Assign(partitions ...int32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range partitions {
		p := b.parts[id]
		switch {
		case p == nil:
			p = b.newPart(id)
			b.parts[id] = p
		case p.phase != standby:
			continue
		default:
			p.forgetting.Stop()
		}
		ctx, cancel := context.WithCancel(b.ctx)
		p.phase, p.cancel, p.done, p.err = restoring, cancel, make(chan struct{}), nil
		p.applied.Store(p.next)
		p.end.Store(p.next)
		b.tasks.Go(func() { b.restore(ctx, p) })
	}
}

// Keep has partitions ready again that were revoked a moment ago, without reading
// them back: nobody else can have written ids since that count, and the last
// transaction was committed or never begun. Those that the backend has not kept
// whole are assigned.
func (b *Backend) Keep(partitions ...int32) {
	var rest, kept []int32
	b.mu.Lock()
	for _, id := range partitions {
		p := b.parts[id]
		if p == nil || p.phase != standby || !p.whole {
			rest = append(rest, id)
			continue
		}
		p.forgetting.Stop()
		p.phase, p.cancel, p.done, p.err = ready, func() {}, closed, nil
		p.window.Recount()
		kept = append(kept, id)
	}
	b.mu.Unlock()
	if len(kept) > 0 {
		b.o.Logger.Info("ids kept", "state", b.o.Name, "partitions", fmt.Sprint(kept))
	}
	b.Assign(rest...)
}

// closed is the done of a partition that is not read back.
var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Await returns when the partition's ids are there, or why they will not be.
func (b *Backend) Await(ctx context.Context, partition int32) error {
	for {
		done, err := b.reading(partition)
		if done == nil {
			return err
		}
		select {
		case <-done: // the next one may have begun since
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reading returns what ends with the reading of a partition's ids, nil where they
// are there or will not be.
func (b *Backend) reading(partition int32) (done <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.parts[partition]
	switch {
	case p == nil || p.phase == standby:
		return nil, b.wrap(errRevoked)
	case p.phase == ready || p.err != nil:
		return nil, p.err
	}
	return p.done, nil
}

var errRevoked = errors.New("the partition was revoked")

// Revoke ends the use of partitions. What they have staged is forgotten: it was
// committed and remembered before, or it never will be.
func (b *Backend) Revoke(partitions ...int32) {
	for _, id := range partitions {
		b.mu.Lock()
		p := b.parts[id]
		if p == nil || p.phase == standby {
			b.mu.Unlock()
			continue
		}
		p.cancel()
		done := p.done
		b.mu.Unlock()
		<-done // a restore that was under way has ended: the window is ours
		b.mu.Lock()
		if p.phase != standby {
			b.retire(p)
		}
		b.mu.Unlock()
	}
}

// retire keeps a partition for a while. A window that was not read back whole is
// as good: the reading goes on where it ended.
func (b *Backend) retire(p *part) {
	p.whole = p.phase == ready && len(p.staged) == 0
	if len(p.staged) > 0 {
		b.staged.forget(p)
	}
	p.unstage()
	if p.phase == ready {
		for plugin, u := range b.buckets {
			now := p.bucket(plugin).Usage()
			u.past.Evictions += now.Evictions
			u.past.Expired += now.Expired
		}
	}
	p.phase = standby
	p.forgetting = time.AfterFunc(b.o.Standby, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.parts[p.id] == p && p.phase == standby {
			delete(b.parts, p.id)
		}
	})
}

// unstage forgets what the open transaction has of a partition.
func (p *part) unstage() {
	for i := range p.staged {
		if s := &p.staged[i]; s.back && !s.done {
			p.let(s.id)
		}
	}
	p.staged, p.buried = p.staged[:0], p.buried[:0]
}

// Stage implements state.Transactional. An id of a partition that is not ready
// is not staged: its transaction cannot be committed.
func (b *Backend) Stage(partition int32, plugin string, id state.ID, at state.Position, expiresMS int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.parts[partition]
	if p == nil || p.phase != ready {
		return
	}
	_, back := p.gone[id]
	if back {
		delete(p.gone, id)
	}
	b.staged.put(place{p, len(p.staged)})
	p.staged = append(p.staged, staged{id: id, back: back, claim: claim{plugin: plugin, at: at, expiresMS: expiresMS}})
}

// Write is one record of the open transaction: an id, or the tombstone of one.
type Write struct {
	Partition  int32
	Key, Value []byte // Value is nil for a tombstone
}

// Take returns what the open transaction has to write to the topic before it is
// committed: what was staged, and tombstones of ids that have left the window.
// Each partition's records are to be written in this order. What it returns is
// valid until the next call.
func (b *Backend) Take() []Write {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes, b.arena = b.writes[:0], b.arena[:0]
	for _, p := range b.parts {
		if p.phase != ready {
			continue
		}
		b.bury(p)
		for i := range p.staged {
			b.write(p.id, p.staged[i].id, &p.staged[i].claim)
		}
	}
	return b.writes
}

// write adds a record to those of Take; c is nil for a tombstone. Bytes that the
// arena was moved from stay where they are.
func (b *Backend) write(partition int32, id state.ID, c *claim) {
	from := len(b.arena)
	b.arena = appendKey(b.arena, id)
	to := len(b.arena)
	w := Write{Partition: partition, Key: b.arena[from:to:to]}
	if c != nil {
		b.arena = c.append(b.arena)
		w.Value = b.arena[to:len(b.arena):len(b.arena)]
	}
	b.writes = append(b.writes, w)
}

// bury makes tombstones.
func (b *Backend) bury(p *part) {
	p.buried = p.buried[:0]
	for id := range p.gone {
		if len(p.buried) >= buryMost+len(p.staged) {
			break
		}
		p.buried = append(p.buried, id)
		b.write(p.id, id, nil)
	}
}

// Committed tells that the transaction is, and that its ids are remembered. next
// is, for each partition that was written to, the offset after the last record.
func (b *Backend) Committed(next map[int32]int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.parts {
		if p.phase != ready {
			continue
		}
		for _, id := range p.buried {
			delete(p.gone, id)
		}
		for i := range p.staged { // none: all were settled
			if s := &p.staged[i]; !s.done {
				_ = p.window.Put(s.claim.plugin, s.id, s.claim.at, s.claim.expiresMS, 0) // memory refuses no id
				s.done = true
			}
		}
		p.next = max(p.next, next[p.id])
		p.unstage()
	}
	b.staged.clear()
}

// Aborted tells that the transaction is not committed, or that nobody knows. The
// partitions are to be revoked then.
func (b *Backend) Aborted() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.parts {
		p.unstage()
	}
	b.staged.clear()
}

// restore reads a partition's ids back.
func (b *Backend) restore(ctx context.Context, p *part) {
	defer close(p.done)
	defer p.cancel()
	start := time.Now()
	n, err := b.readBack(ctx, p)
	b.mu.Lock()
	defer b.mu.Unlock()
	took := time.Since(start)
	b.health.Restored += n
	b.health.RestoreTime += took
	switch {
	case ctx.Err() != nil:
		p.err = b.wrap(errRevoked)
		return
	case err != nil:
		p.err = b.wrap(fmt.Errorf("partition %d: %w", p.id, err))
		return
	}
	p.phase = ready
	p.window.Recount() // what went while it was read back went before
	b.o.Logger.Info("ids read back", "state", b.o.Name, "partition", p.id, "ids", p.window.Len(), "records", n, "took", took.Round(time.Millisecond).String())
}

// readBack brings the window up to the end of the log, as it is now, and returns
// how many records that took.
//
// The end is that of all records, and not of those that are committed: the
// offsets of a transaction may be committed while its marker is still on its way
// to this partition, and then ids of records that were written would be missing.
// Reading to the end waits for it.
func (b *Backend) readBack(ctx context.Context, p *part) (n uint64, err error) {
	first, end, err := b.o.Log.Bounds(ctx, p.id)
	if err != nil {
		return 0, err
	}
	if p.next > end {
		b.o.Logger.Warn("state in Kafka: the topic has lost records, reading from its start", "state", b.o.Name, "topic", b.o.Topic, "partition", p.id, "offset", p.next, "end", end)
		clear(p.gone)
		p.window, p.last, p.next = state.NewWindow(b.limit, p.let), nil, 0
	}
	p.next = max(p.next, first)
	p.end.Store(end)
	nowMS := b.o.Now().UnixMilli()
	err = b.o.Log.Read(ctx, p.id, p.next, end, func(recs []klamm.Record) error {
		for i := range recs {
			if err := b.apply(p, &recs[i], nowMS); err != nil {
				return err
			}
			p.next = recs[i].Offset + 1
		}
		n += uint64(len(recs))
		p.applied.Store(p.next)
		return ctx.Err()
	})
	if err == nil && ctx.Err() == nil {
		p.next = max(p.next, end)
	}
	return n, err
}

// apply takes one record of the log into the window.
func (b *Backend) apply(p *part, rec *klamm.Record, nowMS int64) error {
	if isHeader(rec.Key) {
		return nil
	}
	id, c, err := p.names.decode(rec)
	if err != nil {
		return err
	}
	delete(p.gone, id)
	switch {
	case rec.Value == nil:
		p.window.Forget(id)
		return nil
	case b.o.Clock != "record" && c.expiresMS != 0 && nowMS >= c.expiresMS:
		p.window.Forget(id)
		p.let(id)
		return nil
	}
	return p.window.Put(c.plugin, id, c.at, c.expiresMS, 0)
}
