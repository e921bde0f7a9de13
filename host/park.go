package host

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
)

// park keeps judged records whose topic's metadata is not known yet, in order,
// so that no judgement ever waits for a broker. They keep their buffer memory,
// so a topic that never comes bounds itself. max_block is how long they wait.
type park struct {
	p      *Producer
	topics sync.Mutex // guards held
	held   map[string][]parkedRecord
	any    atomic.Int32
	tasks  sync.WaitGroup
	waited atomic.Int64 // nanoseconds
}

// parkedRecord owns its bytes.
type parkedRecord struct {
	lane *lane
	placement
}

func newPark(p *Producer) *park { return &park{p: p, held: map[string][]parkedRecord{}} }

// keep takes out of todo what must wait for its topic, and returns the rest.
// Records of a topic that others wait for go behind them.
func (k *park) keep(l *lane, todo []placement) []placement {
	if k.any.Load() == 0 && k.allKnown(todo) {
		return todo
	}
	rest := todo[:0]
	k.topics.Lock()
	for _, t := range todo {
		if !k.hold(l, t) {
			rest = append(rest, t)
		}
	}
	k.topics.Unlock()
	return rest
}

func (k *park) allKnown(todo []placement) bool {
	last := ""
	for i := range todo {
		name := todo[i].record.Topic
		if name != last && k.p.cluster.Topic(name) == nil {
			return false
		}
		last = name
	}
	return true
}

func (k *park) hold(l *lane, t placement) bool {
	name := t.record.Topic
	_, waited := k.held[name]
	if !waited && k.p.cluster.Topic(name) != nil {
		return false
	}
	t.record, t.body = cloneRecord(t.record), nil // the block's memory is used again
	k.held[name] = append(k.held[name], parkedRecord{lane: l, placement: t})
	if !waited {
		k.any.Add(1)
		k.tasks.Add(1)
		go k.await(name)
	}
	return true
}

// await asks for one topic until it is known or max_block is over, then places
// or fails what waits for it.
func (k *park) await(name string) {
	defer k.tasks.Done()
	ctx, cancel := context.WithTimeout(k.p.ctx, k.p.cfg.MaxBlock.Std())
	defer cancel()
	start := time.Now()
	_, err := k.p.cluster.AwaitTopic(ctx, name)
	k.waited.Add(int64(time.Since(start)))
	if err != nil && k.p.ctx.Err() != nil {
		err = klamm.ErrClosed
	}
	for {
		recs := k.next(name)
		if len(recs) == 0 {
			return
		}
		k.release(recs, err)
	}
}

// next takes what waits for a topic; when nothing does any more, later records
// of the topic go their way directly.
func (k *park) next(name string) []parkedRecord {
	k.topics.Lock()
	defer k.topics.Unlock()
	recs := k.held[name]
	if len(recs) == 0 {
		delete(k.held, name)
		k.any.Add(-1)
		return nil
	}
	k.held[name] = recs[:0:0]
	return recs
}

// expel fails all that waits.
func (k *park) expel(err error) {
	k.topics.Lock()
	var all []parkedRecord
	for name, recs := range k.held {
		all = append(all, recs...)
		k.held[name] = nil // the topic's task ends with the next look
	}
	k.topics.Unlock()
	k.release(all, err)
}

func (k *park) release(recs []parkedRecord, err error) {
	for start := 0; start < len(recs); {
		end := start + 1
		for end < len(recs) && recs[end].lane == recs[start].lane {
			end++
		}
		k.releaseLane(recs[start].lane, recs[start:end], err)
		start = end
	}
}

// releaseLane goes on where the lane's judgement stopped, or fails the records.
func (k *park) releaseLane(l *lane, recs []parkedRecord, err error) {
	if err != nil {
		for _, r := range recs {
			r.fail(k.p, klamm.NoPartition, err)
		}
		return
	}
	todo := make([]placement, len(recs))
	for i, r := range recs {
		todo[i] = r.placement
	}
	l.exclusive(func() { l.placer.appendKnown(l, todo) })
}

func cloneRecord(rec *klamm.Record) *klamm.Record {
	cp := *rec
	cp.Key, cp.Value, cp.Headers = cloneBytes(rec.Key), cloneBytes(rec.Value), cloneHeaders(rec.Headers)
	return &cp
}

// maxBlockDeadline is when a Send that starts now gives up waiting.
func (p *Producer) maxBlockDeadline() time.Time { return time.Now().Add(p.cfg.MaxBlock.Std()) }
