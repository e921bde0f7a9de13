package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/klamm-io/klamm/state"
)

// confirmScript writes that an id's record was written. It returns 1 where the
// claim stood, 2 where it was gone, 3 where another record was confirmed
// meanwhile (that one stays), and 4 where another one had claimed it.
//
// KEYS: id. ARGV: token, value, its life in ms or 0.
var confirmScript = redis.NewScript(`
local v = redis.call('GET', KEYS[1])
if v and v ~= ARGV[1] and v ~= ARGV[2] and string.sub(v, 1, 2) == 'c|' then return 3 end
if ARGV[3] == '0' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
if v == ARGV[1] or v == ARGV[2] then return 1 end
if not v then return 2 end
return 4
`)

// releaseScript deletes a key that still says what it did.
var releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`)

// aliveScript renews a host's key, and puts the state's own back where it was
// lost. It returns who has the host's name instead, or the state's key.
//
// KEYS: the host's, the state's. ARGV: run, lease in ms, the state's key.
var aliveScript = redis.NewScript(`
local v = redis.call('GET', KEYS[1])
if v and v ~= ARGV[1] then return {'host', v} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SETNX', KEYS[2], ARGV[3])
return {'key', redis.call('GET', KEYS[2])}
`)

// op is a confirmation or a release on its way.
type op struct {
	id      state.ID
	token   string
	confirm bool
	value   string
	lifeMS  int64
}

const (
	queueMax  = 1 << 20 // operations that wait for Redis; more are forgotten, and counted
	sendBatch = 512
)

// queue is the operations that are not carried out yet, in order.
type queue struct {
	mu     sync.Mutex
	ops    []op
	limit  int
	taken  uint64        // operations that left it
	put_   uint64        // operations that entered it
	lost   uint64        // that found no room
	full   bool          // the last one found no room
	told   uint64        // of lost, those that a Flush has told of
	failed uint64        // sends that failed, ever
	err    error         // of the last of them
	turn   chan struct{} // closed when any of these changes
	wake   chan struct{}
}

func (q *queue) init() {
	q.limit, q.turn, q.wake = queueMax, make(chan struct{}), make(chan struct{}, 1)
}

// length is how many operations wait, and how many were lost, ever.
func (q *queue) length() (waiting int, lost uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ops), q.lost
}

// put reports whether there was room, and else whether there was for the one
// before.
func (q *queue) put(o op) (ok, first bool) {
	q.mu.Lock()
	if ok = len(q.ops) < q.limit; ok {
		q.ops = append(q.ops, o)
		q.put_++
	} else {
		first = !q.full
		q.lost++
	}
	q.full = !ok
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return ok, first
}

// enqueue puts an operation into the queue. Where there is no room it is
// forgotten: a claim stands in Redis until the process is gone, a confirmation is
// known to this host alone.
func (b *backend) enqueue(o op) {
	if ok, first := b.out.put(o); !ok && first {
		b.o.Logger.Error("state in Redis: the backlog is full and what comes now is forgotten: duplicates may pass on other hosts",
			"state", b.o.Name, "redis", b.health.Where, "backlog", b.out.limit)
	}
}

func (q *queue) first() []op {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ops[:min(sendBatch, len(q.ops))]
}

// done takes the first n out, or notes why they could not be sent.
func (q *queue) done(n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.failed++
		q.err = err
	} else {
		clear(q.ops[:n])
		q.ops = q.ops[n:]
		q.taken += uint64(n)
	}
	close(q.turn)
	q.turn = make(chan struct{})
}

// Flush implements state.Durable.
func (b *backend) Flush(limit time.Duration) error {
	q := &b.out
	q.mu.Lock()
	target, failures := q.put_, q.failed
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for q.taken < target && q.failed == failures {
		turn := q.turn
		q.mu.Unlock()
		select {
		case <-turn:
		case <-timer.C:
			return b.wrap(fmt.Errorf("nothing was confirmed for %s", limit))
		}
		q.mu.Lock()
	}
	defer q.mu.Unlock()
	switch n := q.lost - q.told; {
	case q.taken < target: // whatever became of Redis since
		return b.wrap(q.err)
	case n > 0:
		q.told = q.lost
		return b.wrap(fmt.Errorf("%d operations were forgotten behind a backlog of %d", n, q.limit))
	}
	return nil
}

// send carries operations out, until ctx ends.
func (b *backend) send(ctx context.Context) {
	pause := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.out.wake:
		case <-after(pause):
		}
		pause = 0
		for ops := b.out.first(); len(ops) > 0 && ctx.Err() == nil; ops = b.out.first() {
			err := b.carryOut(ctx, ops)
			b.note(err)
			b.out.done(len(ops), err)
			if err != nil {
				pause = retryPause
				break
			}
		}
	}
}

const retryPause = 200 * time.Millisecond

// after is nil, on which nobody can receive, for no pause.
func after(d time.Duration) <-chan time.Time {
	if d == 0 {
		return nil
	}
	return time.After(d)
}

func (b *backend) carryOut(ctx context.Context, ops []op) error {
	cmds, err := b.pipeline(ctx, len(ops), func(p redis.Pipeliner, i int) {
		o, keys := &ops[i], []string{b.idKey(ops[i].id)}
		if o.confirm {
			p.EvalSha(ctx, confirmScript.Hash(), keys, o.token, o.value, o.lifeMS)
		} else {
			p.EvalSha(ctx, releaseScript.Hash(), keys, o.token)
		}
	})
	if err != nil {
		return err
	}
	lapsed := uint64(0)
	for i, cmd := range cmds {
		n, err := cmd.(*redis.Cmd).Int()
		if err != nil {
			return err
		}
		if ops[i].confirm && ops[i].token != "" && n != 1 {
			lapsed++
		}
	}
	b.mu.Lock()
	b.health.Lapsed += lapsed
	b.mu.Unlock()
	return nil
}

// keepAlive renews the host's key.
func (b *backend) keepAlive(ctx context.Context) {
	tick := time.NewTicker(b.o.Lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := b.renew(ctx); ctx.Err() == nil {
				b.note(err)
			}
		}
	}
}

func (b *backend) renew(ctx context.Context) error {
	cmds, err := b.pipeline(ctx, 1, func(p redis.Pipeliner, _ int) {
		p.EvalSha(ctx, aliveScript.Hash(), []string{b.hostKey(b.o.Host), b.prefix + "key"}, b.runName(), b.o.Lease.Milliseconds(), b.key.Text())
	})
	if err != nil {
		return err
	}
	got, err := cmds[0].(*redis.Cmd).StringSlice()
	if err != nil {
		return err
	}
	switch {
	case len(got) != 2:
		return errValue
	case got[0] == "host":
		b.fence(fmt.Errorf("another process runs as host %q: give each a [host] id of its own, and start this one again", b.o.Host))
	case got[1] != b.key.Text():
		b.fence(errors.New("it was emptied, and begun anew by another host: start this one again"))
	}
	return nil
}

// fence ends the backend's use by this process.
func (b *backend) fence(err error) {
	b.mu.Lock()
	first := b.fenced == nil
	b.fenced = err
	b.mu.Unlock()
	if first {
		b.o.Logger.Error("state in Redis: not used any more", "state", b.o.Name, "err", err)
	}
}
