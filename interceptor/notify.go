package interceptor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// notices is the scratch of a hook that has no verdicts.
type notices struct {
	mu     sync.Mutex
	block  runtime.Block
	tx     transaction
	picked []*Ack
}

// OnAcknowledgement tells the links what became of records, in list order. Each
// link gets one entry for every record that it was offered in OnSend, or for
// every record when it has no on_send. Faults are counted and logged and change
// nothing; a call that failed is not repeated, since the plugin may have counted
// its records already. It may run beside OnSend on another goroutine.
func (l *Lane) OnAcknowledgement(ctx context.Context, acks []Ack) {
	n := &l.notices[0]
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range l.places[abi.OnAcknowledgement] {
		if !p.has(abi.OnAcknowledgement) {
			continue
		}
		n.pick(p, acks)
		for todo := n.picked; len(todo) > 0; {
			todo = todo[n.acknowledge(ctx, l, p, todo):]
		}
	}
	clear(n.picked)
}

// pick chooses what a link is told.
func (n *notices) pick(p *place, acks []Ack) {
	all := p.sender < 0 || !p.has(abi.OnSend)
	n.picked = n.picked[:0]
	for i := range acks {
		if all || acks[i].Offered>>p.sender&1 != 0 {
			n.picked = append(n.picked, &acks[i])
		}
	}
}

// acknowledge makes one call and returns how many entries it had.
func (n *notices) acknowledge(ctx context.Context, l *Lane, p *place, acks []*Ack) int {
	if p.guest == nil {
		acks = acks[:min(len(acks), abi.BatchMax)]
		start := time.Now()
		err := guarded(func() error { return p.link.Native.(OnAcknowledger).OnAcknowledgement(ctx, acks) })
		l.told(p, len(acks), time.Since(start), err)
		return len(acks)
	}
	return n.notify(ctx, l, p, acks, len(acks), func(gen *generation) int { return n.encodeAcks(l, p, gen, acks) })
}

// notify makes one call of a guest with the block that encode fills, of a part
// of all entries, and returns how many are done with.
func (n *notices) notify(ctx context.Context, l *Lane, p *place, acks []*Ack, all int, encode func(*generation) int) int {
	g := p.guest
	g.mu.Lock()
	defer g.mu.Unlock()
	gen := g.seat.generation()
	if gen == nil {
		return all
	}
	count := encode(gen)
	n.tx.begin(nil, acks, p.link.Space, time.Now().UnixMilli())
	g.host.tx = &n.tx
	start := time.Now()
	err := g.seat.notify(ctx, p.hook, &n.block)
	took := time.Since(start)
	g.host.tx = nil
	if errors.Is(err, runtime.ErrOutdated) {
		return 0 // once more, for the new generation
	}
	if err == nil {
		if err := n.tx.store(); err != nil {
			l.noticeFault(p, "host", fmt.Errorf("put state: %w", err))
		}
		g.host.report(&n.tx, l.chain.metrics)
	}
	l.told(p, count, took, err)
	return count
}

// told counts one call.
func (l *Lane) told(p *place, records int, took time.Duration, err error) {
	if err == nil {
		l.chain.metrics.Call(p.link.Name, p.hook.String(), records, took)
		return
	}
	l.chain.metrics.Call(p.link.Name, p.hook.String(), 0, took)
	l.noticeFault(p, faultKind(err), fmt.Errorf("%d records: %w", records, err))
}

func (l *Lane) noticeFault(p *place, kind string, err error) {
	l.chain.metrics.Fault(p.link.Name, p.hook.String(), kind)
	p.logFault(l, withStack([]slog.Attr{slog.String("kind", kind), slog.Any("error", err)}, err))
}

func (n *notices) encodeAcks(l *Lane, p *place, gen *generation, acks []*Ack) int {
	fields := gen.fields[abi.OnAcknowledgement]
	n.block.Reset(fields, time.Now().UnixMilli(), true)
	topics := blockTopics{block: &n.block, fields: fields, facts: l.chain.cfg.Facts}
	for i, a := range acks {
		if i > 0 && !n.block.Fits(asked(&a.Record, fields)) {
			return i
		}
		n.block.Add(ackHead(a, topics.index(a.Record.Topic)))
		for j := range a.Record.Headers {
			n.block.AddHeader(a.Record.Headers[j].Key, a.Record.Headers[j].Value)
		}
		n.block.SetAck(a.Code, ackFlags(p, gen, a), microseconds(a.Latency), uint32(a.ReasonCode), a.Link)
	}
	return len(acks)
}

func ackHead(a *Ack, topic int) runtime.Head {
	h := runtime.Head{
		Topic: topic, Partition: a.Partition, Offset: a.Offset, TimestampMS: -1,
		Key: a.Record.Key, Ref: a.Ref, Headers: len(a.Record.Headers),
	}
	if !a.Record.Timestamp.IsZero() {
		h.TimestampMS = a.Record.Timestamp.UnixMilli()
	}
	return h
}

// ackFlags adds what differs from plugin to plugin.
func ackFlags(p *place, gen *generation, a *Ack) uint32 {
	if p.sender < 0 || a.Offered>>p.sender&1 == 0 {
		return a.Flags
	}
	if a.Generations>>(4*uint(p.sender))&0xf != uint64(gen.number&0xf) {
		return a.Flags | abi.AckEarlierGeneration
	}
	return a.Flags
}

func microseconds(d time.Duration) uint32 {
	return uint32(min(max(d.Microseconds(), 0), 1<<32-1))
}

// OnCommit tells the links of committed offsets, in list order. Faults are
// counted and logged and change nothing.
func (l *Lane) OnCommit(ctx context.Context, commits []Commit) {
	n := &l.notices[1]
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range l.places[abi.OnCommit] {
		if !p.has(abi.OnCommit) {
			continue
		}
		for todo := commits; len(todo) > 0; {
			todo = todo[n.commit(ctx, l, p, todo):]
		}
	}
}

func (n *notices) commit(ctx context.Context, l *Lane, p *place, commits []Commit) int {
	if p.guest == nil {
		start := time.Now()
		err := guarded(func() error { return p.link.Native.(OnCommitter).OnCommit(ctx, commits) })
		l.told(p, len(commits), time.Since(start), err)
		return len(commits)
	}
	return n.notify(ctx, l, p, nil, len(commits), func(gen *generation) int { return n.encodeCommits(l, gen, commits) })
}

func (n *notices) encodeCommits(l *Lane, gen *generation, commits []Commit) int {
	fields := gen.fields[abi.OnCommit]
	n.block.Reset(fields, time.Now().UnixMilli(), true)
	topics := blockTopics{block: &n.block, fields: fields, facts: l.chain.cfg.Facts}
	for i, c := range commits {
		if i > 0 && !n.block.Fits(0) {
			return i
		}
		n.block.Add(runtime.Head{Topic: topics.index(c.Topic), Partition: c.Partition, Offset: c.Offset, TimestampMS: -1})
		n.block.SetAck(abi.ErrNone, 0, 0, 0, 0)
	}
	return len(commits)
}
