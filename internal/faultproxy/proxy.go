package faultproxy

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Options of New. The zero value makes no faults.
type Options struct {
	// Seed decides which frames are struck.
	Seed uint64
	// Observe is called with every request, before any rule, on the connection's
	// goroutine.
	Observe func(Request)
}

// Link is what the network between clients and brokers is like. The zero value
// is as fast as it goes.
type Link struct {
	// Latency delays each frame, in both directions, without slowing down those
	// behind it.
	Latency time.Duration
	// BytesPerSecond bounds each direction of each connection. 0: no limit.
	BytesPerSecond int
	// Slice is how many bytes are written at once. 0: whole frames.
	Slice int
	// Lifetime resets each new connection after so long, give or take a half. 0:
	// connections live on.
	Lifetime time.Duration
}

// Proxy stands before the brokers of a cluster.
type Proxy struct {
	seed    uint64
	observe func(Request)
	fronts  []*front
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	rules  []*Handle
	added  int
	link   Link
	counts map[string]int64
	conns  map[*conn]struct{}
	ages   *rand.Rand
	frozen map[int]chan struct{} // closed when the broker goes on
	dark   map[int]bool
}

// front is the proxy's address for one broker.
type front struct {
	index    int
	listener net.Listener
	broker   string // as it advertises itself
}

// New opens a port on the loopback for each broker. The addresses are host:port
// as the brokers advertise them.
func New(brokers []string, o Options) (*Proxy, error) {
	p := &Proxy{
		seed: o.Seed, observe: o.Observe, counts: map[string]int64{}, conns: map[*conn]struct{}{},
		ages: rand.New(rand.NewPCG(o.Seed, 1<<63)), frozen: map[int]chan struct{}{}, dark: map[int]bool{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for i, b := range brokers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			p.Close()
			return nil, fmt.Errorf("fault proxy for %q: %w", b, err)
		}
		p.fronts = append(p.fronts, &front{i, l, b})
	}
	for _, f := range p.fronts {
		p.running.Add(1)
		go p.accept(f)
	}
	return p, nil
}

// Addrs returns the proxy's addresses, in the order of the brokers.
func (p *Proxy) Addrs() []string {
	var addrs []string
	for _, f := range p.fronts {
		addrs = append(addrs, f.listener.Addr().String())
	}
	return addrs
}

// Close ends every connection and waits for its goroutines. It may be called
// twice.
func (p *Proxy) Close() error {
	p.cancel()
	for _, f := range p.fronts {
		f.listener.Close()
	}
	p.running.Wait()
	return nil
}

// Add makes a rule work. Rules are asked in the order in which they were added,
// and the first that strikes a frame decides.
func (p *Proxy) Add(r Rule) *Handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &Handle{rule: r, index: p.added, proxy: p, rands: map[int]*rand.Rand{}, matched: map[int]int{}}
	p.added++
	p.rules = append(p.rules, h)
	return h
}

// Heal removes all rules, makes the link perfect and lets stopped brokers go on.
// Connections that swallow frames are reset.
func (p *Proxy) Heal() {
	p.mu.Lock()
	p.rules = nil
	p.link = Link{}
	var swallowing []*conn
	for c := range p.conns {
		if c.swallows() {
			swallowing = append(swallowing, c)
		}
	}
	frozen := slices.Collect(maps.Keys(p.frozen))
	clear(p.dark)
	p.mu.Unlock()
	for _, b := range frozen {
		p.Continue(b)
	}
	for _, c := range swallowing {
		c.reset()
	}
}

// SetLink changes the network, from the next frame on.
func (p *Proxy) SetLink(l Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link = l
}

// Cut resets all connections to a broker, or to all with a negative number. It
// returns how many there were.
func (p *Proxy) Cut(broker int) int {
	p.mu.Lock()
	var cut []*conn
	for c := range p.conns {
		if broker < 0 || c.front.index == broker {
			cut = append(cut, c)
		}
	}
	p.counts["cut"] += int64(len(cut))
	p.mu.Unlock()
	for _, c := range cut {
		c.reset()
	}
	return len(cut)
}

// Down cuts a broker off: its connections are reset and new ones are refused,
// until Up.
func (p *Proxy) Down(broker int) {
	p.mu.Lock()
	p.dark[broker] = true
	p.counts["down"]++
	p.mu.Unlock()
	p.Cut(broker)
}

// Up ends Down.
func (p *Proxy) Up(broker int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.dark, broker)
}

// Stop keeps everything to and from a broker back until Continue, as SIGSTOP
// does: connections stay open, and what clients have sent meanwhile is handled
// later, whether they are still there or not.
func (p *Proxy) Stop(broker int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen[broker] == nil {
		p.frozen[broker] = make(chan struct{})
		p.counts["stop"]++
	}
}

// Continue ends Stop.
func (p *Proxy) Continue(broker int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.frozen[broker]; c != nil {
		close(c)
		delete(p.frozen, broker)
	}
}

// Faults returns how often each kind of fault was made.
func (p *Proxy) Faults() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}

func (p *Proxy) count(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[name]++
}

func (p *Proxy) currentLink() Link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.link
}

// stopped returns what is closed when the broker goes on, nil when it runs.
func (p *Proxy) stopped(broker int) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.frozen[broker]; c != nil {
		return c
	}
	return nil
}

// strike returns the rule that strikes a frame, nil if none does. req is nil for
// replies.
func (p *Proxy) strike(broker int, key int16, req *Request) *Handle {
	p.mu.Lock()
	rules := p.rules
	p.mu.Unlock()
	for _, h := range rules {
		if !h.rule.matches(broker, key) || h.rule.Action.ofRequest() != (req != nil) {
			continue
		}
		if req != nil && h.rule.When != nil && !h.rule.When(*req) {
			continue
		}
		if h.strikes(broker) {
			p.count(h.rule.Action.String())
			return h
		}
	}
	return nil
}

func (p *Proxy) accept(f *front) {
	defer p.running.Done()
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		p.mu.Lock()
		dark := p.dark[f.index]
		p.mu.Unlock()
		if dark {
			abort(c)
			continue
		}
		p.running.Add(1)
		go p.serve(f, c)
	}
}

// lifetime returns how long a new connection lives, 0 for ever.
func (p *Proxy) lifetime() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link.Lifetime <= 0 {
		return 0
	}
	return p.link.Lifetime/2 + time.Duration(p.ages.Int64N(int64(p.link.Lifetime)))
}

// address returns the proxy's address in place of a broker's. Those that it does
// not know stay as they are.
func (p *Proxy) address(host string, port int32) (string, int32) {
	asked := net.JoinHostPort(host, strconv.Itoa(int(port)))
	for _, f := range p.fronts {
		if f.broker == asked {
			a := f.listener.Addr().(*net.TCPAddr)
			return a.IP.String(), int32(a.Port)
		}
	}
	return host, port
}

// abort closes a connection so that the other side sees a reset.
func abort(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}
