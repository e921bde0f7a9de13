package saramaplugin

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm/host"
)

const (
	// maxInFlight bounds the messages between Input() and the user's reading of
	// their result; beyond it Input() waits, as sarama's does much sooner.
	maxInFlight = 16384
	// batchMax is the most messages that plugins judge in one call.
	batchMax = 256
	// waitGrace is how long a producer that is closed waits for messages of other
	// producers that its own are duplicates of.
	waitGrace = 5 * time.Second
)

// WrapAsyncProducer puts the host's chains around a producer, which is the
// wrapper's from then on: whoever closes the wrapper closes it too. cfg is the
// configuration that p was made with; its Return.Successes and Return.Errors
// must be on, since plugins and claims need to know what became of each message
// (NewAsyncProducer does without).
//
// Every message on Input() comes back once, on Successes() or on Errors(), as
// the pointer that was sent. Key, Value, Headers and Metadata stay the user's;
// after a success Topic, Partition, Offset and Timestamp say where it is
// written. See DroppedBy and DeadLetteredBy for those that were not.
//
// As with sarama, both channels must be read while messages are sent, also after
// AsyncClose, until they are closed; Close reads them itself.
func WrapAsyncProducer(h *host.Host, cfg *sarama.Config, p sarama.AsyncProducer) (sarama.AsyncProducer, error) {
	w, err := wrapAsync(h, cfg, p)
	if err != nil {
		return nil, err
	}
	w.start()
	return w, nil
}

// asyncProducer hands messages from goroutine to goroutine, and none of them
// waits for one before it:
//
//	Input -> feeder -> sarama -> two collectors -> acknowledger -> two deliverers -> Successes, Errors
//
// The feeder alone waits, for sarama's input and for room in flight. A wrapper
// whose one goroutine both feeds sarama and reads its results dead-locks: (1)
// sarama waits to hand over a success, (2) so it takes no input, (3) the
// goroutine waits to hand over input. Here the collectors read whatever the
// feeder and the user do, and what bounds the queues behind them is the number
// of messages in flight.
type asyncProducer struct {
	txn
	inner   sarama.AsyncProducer
	sender  *sender
	returns struct{ Successes, Errors bool } // what the user reads
	grace   time.Duration
	holds   bool // sarama may hold messages back until it is closed

	input     chan *sarama.ProducerMessage
	successes chan *sarama.ProducerMessage
	errors    chan *sarama.ProducerError
	barriers  chan chan struct{}

	flight  *flight
	handed  registry // what sarama has
	waiting registry // duplicates of messages in flight
	ended   *queue[*entry]
	written *queue[delivery]
	failed  *queue[delivery]

	closing   chan struct{}
	closeOnce sync.Once
	resulted  chan struct{} // after each result of sarama's
	collected chan struct{} // sarama has closed both of its channels
	stopped   chan struct{} // everything is done
	acked     chan struct{} // the acknowledger has ended
}

// delivery is a result on its way to the user.
type delivery struct {
	msg     *sarama.ProducerMessage
	err     error
	counted bool // in flight until it was read
}

func wrapAsync(h *host.Host, cfg *sarama.Config, p sarama.AsyncProducer) (*asyncProducer, error) {
	if err := check(h, cfg, p.IsTransactional()); err != nil {
		return nil, err
	}
	w := &asyncProducer{
		inner: p, grace: waitGrace,
		input:     make(chan *sarama.ProducerMessage, max(0, min(cfg.ChannelBufferSize, batchMax))),
		successes: make(chan *sarama.ProducerMessage), errors: make(chan *sarama.ProducerError),
		barriers: make(chan chan struct{}), flight: newFlight(maxInFlight),
		handed: newRegistry(), waiting: newRegistry(),
		ended: newQueue[*entry](), written: newQueue[delivery](), failed: newQueue[delivery](),
		closing: make(chan struct{}), resulted: make(chan struct{}, 1), collected: make(chan struct{}), acked: make(chan struct{}), stopped: make(chan struct{}),
	}
	w.returns.Successes, w.returns.Errors = true, true
	flush := &cfg.Producer.Flush
	w.holds = flush.Frequency == 0 && (flush.Messages > 0 || flush.Bytes > 0)
	w.sender = newSender(h, cfg, func(e *entry) {
		w.waiting.take(e.user)
		w.ended.put(e)
	})
	w.txn = txn{inner: p, sender: w.sender, barrier: w.barrier}
	return w, nil
}

func (p *asyncProducer) start() {
	go p.feed()
	go p.collect()
	go p.acknowledge()
	go p.deliver()
}

func (p *asyncProducer) Input() chan<- *sarama.ProducerMessage     { return p.input }
func (p *asyncProducer) Successes() <-chan *sarama.ProducerMessage { return p.successes }
func (p *asyncProducer) Errors() <-chan *sarama.ProducerError      { return p.errors }
func (p *asyncProducer) counts() host.Counts                       { return p.sender.counts() }

// AsyncClose sends what Input() has taken, fails what comes later with
// sarama.ErrShuttingDown, and closes Successes() and Errors() when all results
// were read.
func (p *asyncProducer) AsyncClose() { p.closeOnce.Do(func() { close(p.closing) }) }

// Close is AsyncClose and reads what is left: the errors are its own.
func (p *asyncProducer) Close() error {
	p.AsyncClose()
	go func() {
		for range p.successes { // nobody else has to
		}
	}()
	var errs sarama.ProducerErrors
	for err := range p.errors {
		errs = append(errs, err)
	}
	<-p.stopped
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// feed judges messages and hands them to sarama, in the order of Input().
func (p *asyncProducer) feed() {
	for {
		select {
		case msg := <-p.input:
			p.take(msg)
		case done := <-p.barriers:
			p.drain()
			close(done)
		case <-p.closing:
			p.drain()
			p.awaitSarama()
			p.inner.AsyncClose()
			p.rejectRest()
			p.stop()
			return
		}
	}
}

// take judges a message and those that wait behind it, and returns how many.
func (p *asyncProducer) take(msg *sarama.ProducerMessage) int {
	p.flight.acquire(p.closing)
	msgs := append(make([]*sarama.ProducerMessage, 0, 1+len(p.input)), msg)
	for n := len(p.input); n > 0 && p.flight.try(); n-- {
		msgs = append(msgs, <-p.input) // the feeder alone receives
	}
	taken := len(msgs)
	msgs = slices.DeleteFunc(msgs, p.isNil)
	for _, e := range p.judge(msgs) {
		if e.goes() {
			p.handed.add(e.out(), e)
			p.inner.Input() <- e.out()
		}
	}
	return taken
}

// isNil ignores nil messages, as sarama does.
func (p *asyncProducer) isNil(msg *sarama.ProducerMessage) bool {
	if msg == nil {
		sarama.Logger.Println("saramaplugin: a nil message was ignored")
		p.flight.release()
	}
	return msg == nil
}

// judge hands on the messages that end here.
func (p *asyncProducer) judge(msgs []*sarama.ProducerMessage) []*entry {
	entries := p.sender.judge(msgs)
	for _, e := range entries {
		switch {
		case e.ticket.Waits():
			p.waiting.add(e.user, e)
			select {
			case <-e.woken: // perhaps before it was added
				p.waiting.take(e.user)
			default:
			}
		case !e.goes():
			p.ended.put(e)
		}
	}
	return entries
}

// drain takes what was sent before now.
func (p *asyncProducer) drain() {
	for n := len(p.input); n > 0; {
		n -= p.take(<-p.input)
	}
}

// barrier returns when all that was sent before it is sarama's.
func (p *asyncProducer) barrier() {
	done := make(chan struct{})
	select {
	case p.barriers <- done:
		<-done
	case <-p.closing:
	}
}

// awaitSarama waits for the results of what sarama has, because its shutdown
// fails idempotent batches that are to be retried. A producer that holds messages
// back until there are enough of them sends the last ones only when it is closed.
func (p *asyncProducer) awaitSarama() {
	if p.holds {
		return
	}
	for !p.handed.empty() {
		select {
		case msg := <-p.input:
			p.reject(msg)
		case <-p.resulted:
		}
	}
}

// reject refuses a message that came after AsyncClose.
func (p *asyncProducer) reject(msg *sarama.ProducerMessage) {
	if msg != nil {
		p.failed.put(delivery{msg, sarama.ErrShuttingDown, false})
	}
}

// rejectRest refuses messages, as sarama does while it shuts down, until
// everything accepted before has its result and the user has read it.
func (p *asyncProducer) rejectRest() {
	collected := p.collected
	var abandon <-chan time.Time
	for {
		if collected == nil && p.flight.idle() {
			return
		}
		select {
		case msg := <-p.input:
			p.reject(msg)
		case <-collected:
			collected = nil
			timer := time.NewTimer(p.grace)
			defer timer.Stop()
			abandon = timer.C
		case <-abandon:
			for _, e := range p.waiting.all() {
				p.sender.abandon(e)
			}
		case <-p.flight.wake:
		}
	}
}

// stop ends the other goroutines, in the order of the results' way.
func (p *asyncProducer) stop() {
	p.ended.close()
	<-p.acked
	if err := p.sender.close(); err != nil {
		sarama.Logger.Println("saramaplugin: close the plugins:", err)
	}
	close(p.input) // as sarama does; a sender that goes on would never end this
	for msg := range p.input {
		p.reject(msg)
	}
	p.written.close()
	p.failed.close()
}

// collect reads sarama's results and waits for nobody.
func (p *asyncProducer) collect() {
	var both sync.WaitGroup
	both.Go(func() {
		for msg := range p.inner.Successes() {
			p.result(msg, nil)
		}
	})
	for err := range p.inner.Errors() {
		p.result(err.Msg, err.Err)
	}
	both.Wait()
	close(p.collected)
}

func (p *asyncProducer) result(msg *sarama.ProducerMessage, err error) {
	e := p.handed.take(msg)
	if e == nil { // sent past the wrapper
		e = &entry{user: msg}
		p.flight.force()
	}
	e.finish(err)
	p.ended.put(e)
	signal(p.resulted)
}

// acknowledge settles claims and runs on_acknowledgement, in batches.
func (p *asyncProducer) acknowledge() {
	defer close(p.acked)
	for {
		entries, ok := p.ended.take()
		if !ok {
			return
		}
		p.sender.complete(entries)
		for _, e := range entries {
			if err := e.tell(); err != nil {
				p.failed.put(delivery{e.user, err, true})
			} else {
				p.written.put(delivery{e.user, nil, true})
			}
		}
	}
}

// deliver hands results to the user, who may take his time.
func (p *asyncProducer) deliver() {
	var open atomic.Int32
	open.Store(2)
	end := func() {
		if open.Add(-1) == 0 {
			close(p.stopped)
		}
	}
	go func() {
		defer end()
		defer close(p.successes)
		p.each(p.written, func(d delivery) {
			if p.returns.Successes {
				p.successes <- d.msg
			}
		})
	}()
	defer end()
	defer close(p.errors)
	p.each(p.failed, func(d delivery) {
		err := &sarama.ProducerError{Msg: d.msg, Err: d.err}
		if p.returns.Errors {
			p.errors <- err
		} else {
			sarama.Logger.Println(err)
		}
	})
}

func (p *asyncProducer) each(q *queue[delivery], f func(delivery)) {
	for {
		items, ok := q.take()
		if !ok {
			return
		}
		for _, d := range items {
			f(d)
			if d.counted {
				p.flight.release()
			}
		}
	}
}

// registry finds the entry of a message by its pointer.
type registry struct {
	mu      *sync.Mutex
	entries map[*sarama.ProducerMessage]*entry
}

func newRegistry() registry {
	return registry{mu: new(sync.Mutex), entries: map[*sarama.ProducerMessage]*entry{}}
}

func (r registry) add(msg *sarama.ProducerMessage, e *entry) {
	r.mu.Lock()
	r.entries[msg] = e
	r.mu.Unlock()
}

// take removes the entry; nil where there is none.
func (r registry) take(msg *sarama.ProducerMessage) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[msg]
	delete(r.entries, msg)
	return e
}

func (r registry) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.entries) == 0
}

func (r registry) all() []*entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*entry, 0, len(r.entries))
	for _, e := range r.entries {
		all = append(all, e)
	}
	return all
}

var _ sarama.AsyncProducer = (*asyncProducer)(nil)
