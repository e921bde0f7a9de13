// Package redis keeps a state in Redis, so that several hosts share its ids.
//
// # What is stored
//
// For each id one key, whose value says what it is:
//
//	p|HOST|RUN|NUMBER                        claimed by a record in flight on a host
//	c|EXPIRES|PARTITION|OFFSET|TOPIC         confirmed: a record with it was written
//
// RUN is a number of the host's process, which keeps alive a key of its own
// with it: while that is there and says RUN, the claims of RUN stand. When the
// process is gone, that key goes after the lease, or is taken over at once by the
// next process with the same host id, and whoever meets its claims takes them.
// NUMBER is the claim's own, so that a release that arrives late gives nothing
// else back.
//
// # What it promises
//
// A record is never dropped as the duplicate of one that was not written. While
// Redis answers, keeps what it was told, and no host stands still for longer than
// the lease, no id passes twice inside the window. Records in flight when a host
// dies may be doubled. Redis replicates behind its answers: a failover may
// forget the last ids, and so may a Redis that evicts; both are noticed when a
// claim is confirmed, and counted.
//
// All methods are safe for concurrent use.
package redis

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/klamm-io/klamm/state"
)

// Options of New.
type Options struct {
	// Address is a URL: redis://[USER:PASSWORD@]HOST:PORT/DB, rediss:// with TLS,
	// or unix://PATH.
	Address string
	// Name and Scope are the state's. Hosts with the same Name share it.
	Name, Scope string
	// Host names this host among those. Default: a random name.
	Host string
	// MaxEntries and MaxBytes bound what this host remembers itself: ids that it
	// confirmed, so that it need not ask for them, and values, which are not
	// shared.
	MaxEntries int
	MaxBytes   int64
	// Timeout is how long one round trip may take. Default 250ms.
	Timeout time.Duration
	// Lease is how long the claims of a host that is gone stand. Default 10s.
	Lease time.Duration
	// Logger gets what went wrong and was mended. Default: nothing is logged.
	Logger *slog.Logger
}

// Defaults of Options.
const (
	DefaultTimeout = 250 * time.Millisecond
	DefaultLease   = 10 * time.Second
)

// pendingLife ends a claim that nobody takes or gives back, much later than any
// record is in flight.
const pendingLife = time.Hour

// backend is a state in Redis.
type backend struct {
	o      Options
	rdb    *redis.Client
	key    state.Key
	prefix string
	run    string // p|HOST|RUN|
	now    func() time.Time
	local  state.Backend
	loads  []*redis.Script

	mu      sync.Mutex
	serial  uint64
	held    map[state.ID]held
	buckets map[string]*bucket
	breaker breaker
	health  state.Health
	fenced  error

	out queue

	stop    context.CancelFunc
	stopped sync.WaitGroup
	closing sync.Once
	closed  error
}

// held is a claim of this host.
type held struct {
	token string
	ttlMS int64
}

var _ state.Remote = (*backend)(nil)

var _ state.Opener = Open

// Open is a state.Opener.
func Open(name string, cfg state.StoreConfig, log *slog.Logger) (state.Backend, error) {
	scope := "state"
	if cfg.ScopeTopic {
		scope = "topic"
	}
	return New(context.Background(), Options{
		Address: cfg.Address, Name: name, Scope: scope, Host: cfg.Host, MaxEntries: cfg.MaxEntries, MaxBytes: cfg.MaxBytes,
		Timeout: cfg.Timeout, Lease: cfg.Lease, Logger: log,
	})
}

// New connects. It fails where Redis does not answer: the key of the ids is
// there.
func New(ctx context.Context, o Options) (state.Remote, error) {
	o.defaults()
	conn, err := redis.ParseURL(o.Address)
	if err != nil {
		return nil, fmt.Errorf("state %q: address: %w: use redis://HOST:PORT/0", o.Name, scrub(err, o.Address))
	}
	conn.MaxRetries, conn.DialerRetries, conn.Protocol = -1, 1, 2 // claims are asked again by their own rules
	conn.DialTimeout, conn.ReadTimeout, conn.WriteTimeout, conn.PoolTimeout = o.Timeout, o.Timeout, o.Timeout, o.Timeout
	conn.ContextTimeoutEnabled, conn.DisableIdentity = true, true
	conn.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	b := &backend{
		o: o, rdb: redis.NewClient(conn), prefix: "klamm:" + o.Name + ":",
		run:   "p|" + url.QueryEscape(o.Host) + "|" + randomName() + "|",
		now:   time.Now,
		local: state.NewMemory(o.MaxEntries, o.MaxBytes),
		loads: []*redis.Script{claimScript, confirmScript, releaseScript, aliveScript},
		held:  make(map[state.ID]held), buckets: make(map[string]*bucket),
	}
	quiet()
	b.health.Where, b.health.Size, b.health.Synced = conn.Addr, -1, -1
	b.out.init()
	if err := b.begin(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("redis at %s: %w", conn.Addr, advised(err)), b.rdb.Close())
	}
	run, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.stopped.Go(func() { b.keepAlive(run) })
	b.stopped.Go(func() { b.send(run) })
	return b, nil
}

// quiet keeps the library off stderr: what it writes there, its callers are told.
var quiet = sync.OnceFunc(logging.Disable)

func (o *Options) defaults() {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Lease <= 0 {
		o.Lease = DefaultLease
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Host == "" {
		o.Host = randomName()
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = state.DefaultMaxEntries
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = state.DefaultMaxBytes
	}
}

func randomName() string {
	var b [8]byte
	rand.Read(b[:]) // never returns an error
	return hex.EncodeToString(b[:])
}

// scrub keeps a password out of an error.
func scrub(err error, address string) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return errors.New(strings.ReplaceAll(err.Error(), address, "the address"))
}

// begin loads the scripts, agrees with the other hosts on key and scope, and
// takes this host's name.
func (b *backend) begin(ctx context.Context) error {
	if err := b.load(ctx); err != nil {
		return err
	}
	key, err := b.agree(ctx, "key", state.NewKey().Text())
	if err != nil {
		return err
	}
	if b.key, err = state.ParseKey(key); err != nil {
		return fmt.Errorf("%q holds no key of a state: another program uses it; choose another name for the state, or another database", b.prefix+"key")
	}
	scope, err := b.agree(ctx, "scope", b.o.Scope)
	if err != nil {
		return err
	}
	if scope != b.o.Scope {
		return fmt.Errorf("other hosts keep it with scope = %q, not %q: all that share a state need the same", scope, b.o.Scope)
	}
	b.warnOfEviction(ctx)
	return b.rdb.Set(ctx, b.hostKey(b.o.Host), b.runName(), b.o.Lease).Err()
}

func (b *backend) load(ctx context.Context) error {
	for _, s := range b.loads {
		if err := s.Load(ctx, b.rdb).Err(); err != nil {
			return err
		}
	}
	return nil
}

// agree returns what is stored under a name, mine where nothing was.
func (b *backend) agree(ctx context.Context, name, mine string) (string, error) {
	if err := b.rdb.SetNX(ctx, b.prefix+name, mine, 0).Err(); err != nil {
		return "", err
	}
	return b.rdb.Get(ctx, b.prefix+name).Result()
}

// warnOfEviction says what a Redis does that throws ids away.
func (b *backend) warnOfEviction(ctx context.Context) {
	info, err := b.rdb.Info(ctx, "memory").Result()
	if err != nil {
		return // some services refuse it; it is only advice
	}
	_, policy, _ := strings.Cut(info, "maxmemory_policy:")
	policy, _, _ = strings.Cut(policy, "\r\n")
	if policy != "" && policy != "noeviction" {
		b.o.Logger.Warn("state in Redis: ids may be evicted before their time, and duplicates pass then; set maxmemory-policy noeviction",
			"state", b.o.Name, "redis", b.health.Where, "maxmemory_policy", policy)
	}
}

func (b *backend) hostKey(host string) string { return b.prefix + "host:" + url.QueryEscape(host) }

// runName is what the host's key says while this process lives.
func (b *backend) runName() string { _, name, _ := cutToken(b.run); return name }

// cutToken returns whose a claim is.
func cutToken(token string) (host, run string, ok bool) {
	parts := strings.Split(token, "|")
	if len(parts) != 4 || parts[0] != "p" {
		return "", "", false
	}
	host, err := url.QueryUnescape(parts[1])
	return host, parts[2], err == nil
}

func (b *backend) idKey(id state.ID) string {
	raw := make([]byte, 0, len(b.prefix)+16)
	raw = append(raw, b.prefix...)
	raw = binary.LittleEndian.AppendUint64(raw, id[0])
	return string(binary.LittleEndian.AppendUint64(raw, id[1]))
}

func (b *backend) Key() state.Key { return b.key }

func (b *backend) Bucket(plugin string) state.Bucket {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.buckets[plugin]
	if p == nil {
		p = &bucket{Bucket: b.local.Bucket(plugin), b: b}
		b.buckets[plugin] = p
	}
	return p
}

func (b *backend) Health() state.Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.health
	h.Err = b.unavailable()
	waiting, lost := b.out.length()
	h.Behind, h.Forgotten = int64(waiting), lost
	if h.Err == nil && waiting >= b.out.limit {
		h.Err = b.wrap(fmt.Errorf("the backlog of %d operations is full", waiting))
	}
	return h
}

// Close sends what is left, for as long as one round trip may take, and gives the
// host's name back.
func (b *backend) Close() error {
	b.closing.Do(func() {
		flushed := b.Flush(b.o.Timeout)
		b.stop()
		b.stopped.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), b.o.Timeout)
		defer cancel()
		_, err := b.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.EvalSha(ctx, releaseScript.Hash(), []string{b.hostKey(b.o.Host)}, b.runName())
			return nil
		})
		b.closed = errors.Join(flushed, ignoreReply(err), b.rdb.Close())
	})
	return b.closed
}

// bucket remembers here and in Redis. What it finds is what this host knows.
type bucket struct {
	state.Bucket
	b *backend
}

func (p *bucket) Remember(id state.ID, at state.Position, expiresMS, nowMS int64) error {
	b := p.b
	b.mu.Lock()
	h := b.held[id]
	delete(b.held, id)
	b.mu.Unlock()
	b.enqueue(op{id: id, token: h.token, confirm: true, value: confirmed(at, expiresMS), lifeMS: life(h, expiresMS, nowMS)})
	return p.Bucket.Remember(id, at, expiresMS, nowMS)
}

// life is how long Redis keeps a confirmed id, 0 for ever. Under the record's
// clock (nowMS is 0) the window is not one of Redis's time: it gets twice the ttl
// and an hour, for hosts that are behind.
func life(h held, expiresMS, nowMS int64) int64 {
	switch {
	case expiresMS == 0:
		return 0
	case nowMS > 0:
		return max(1, expiresMS-nowMS)
	case h.ttlMS > 0:
		return 2*h.ttlMS + time.Hour.Milliseconds()
	}
	return 24 * time.Hour.Milliseconds()
}

func (b *backend) Release(id state.ID) {
	b.mu.Lock()
	h, ok := b.held[id]
	delete(b.held, id)
	b.mu.Unlock()
	if ok {
		b.enqueue(op{id: id, token: h.token})
	}
}
