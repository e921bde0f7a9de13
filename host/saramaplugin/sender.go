package saramaplugin

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
)

// seats are a wrapper's places at the chains that it meets, one for each chain.
type seats struct {
	h *host.Host

	mu     sync.Mutex
	open   map[string]*host.ChainSeat
	closed bool
}

func newSeats(h *host.Host) *seats { return &seats{h: h, open: map[string]*host.ChainSeat{}} }

// of returns the seat at a chain, opened the first time.
func (s *seats) of(chain string) (*host.ChainSeat, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seat := s.open[chain]; seat != nil {
		return seat, nil
	}
	if s.closed {
		return nil, fmt.Errorf("chain %q: %w", chain, klamm.ErrClosed)
	}
	seat, err := s.h.ChainSeat(context.Background(), chain)
	if err == nil {
		s.open[chain] = seat
	}
	return seat, err
}

func (s *seats) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for _, seat := range s.open {
		errs = append(errs, seat.Close(context.Background()))
	}
	return errors.Join(errs...)
}

func (s *seats) counts() host.Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum host.Counts
	for _, seat := range s.open {
		c := seat.Counts()
		sum.In += c.In
		sum.Out += c.Out
		sum.Dropped += c.Dropped
		sum.DeadLettered += c.DeadLettered
		sum.Failed += c.Failed
		sum.InFlight += c.InFlight
	}
	return sum
}

// entry is one of the user's messages on its way.
type entry struct {
	user *sarama.ProducerMessage
	// msg is what sarama gets, where the topic has a chain: the user's message
	// stays as it is, so that it can be sent again.
	msg    sarama.ProducerMessage
	seat   *host.ChainSeat // nil: no plugin sees the message
	ticket host.Ticket
	by     verdict
	end    klamm.Result // its Outcome is InFlight until the message has one
	woken  chan struct{}
}

// out is what is handed to sarama.
func (e *entry) out() *sarama.ProducerMessage {
	if e.seat == nil {
		return e.user
	}
	return &e.msg
}

// goes says that the message is to be handed to sarama.
func (e *entry) goes() bool { return !e.ticket.Waits() && e.end.Outcome == klamm.InFlight }

// sender judges messages before sarama sees them.
type sender struct {
	*seats
	chains  map[string]host.ChainInfo
	targets targets
	batches sync.Pool
	// settled is told that a message that waited has its end. It must not wait.
	settled func(*entry)
}

func newSender(h *host.Host, cfg *sarama.Config, settled func(*entry)) *sender {
	s := &sender{seats: newSeats(h), chains: map[string]host.ChainInfo{}, targets: targets{make: cfg.Producer.Partitioner}, settled: settled}
	s.batches.New = func() any { return new(interceptor.Batch) }
	for _, c := range h.Chains() {
		s.chains[c.Name] = c
	}
	return s
}

// judge runs on_send over messages, as many in one call as stand together for
// one chain. The entries are in the order of the messages.
func (s *sender) judge(msgs []*sarama.ProducerMessage) []*entry {
	entries := make([]*entry, len(msgs))
	chain := func(i int) string {
		name := s.h.ChainFor(msgs[i].Topic)
		if c := s.chains[name]; !c.Sends && !c.Acknowledges {
			return ""
		}
		return name
	}
	for start := 0; start < len(msgs); {
		name := chain(start)
		end := start
		for ; end < len(msgs) && chain(end) == name; end++ {
			verdicts.forget(msgs[end])
			entries[end] = &entry{user: msgs[end]}
		}
		if name != "" {
			s.judgeChain(name, entries[start:end])
		}
		start = end
	}
	return entries
}

func (s *sender) judgeChain(chain string, entries []*entry) {
	seat, err := s.of(chain)
	if err != nil {
		for _, e := range entries {
			e.end = failure(e.user.Topic, err)
		}
		return
	}
	b := s.batches.Get().(*interceptor.Batch)
	judged := make([]*entry, 0, len(entries))
	before := make([]klamm.Record, 0, len(entries))
	for _, e := range entries {
		rec, err := s.record(e.user)
		if err != nil {
			e.end = failure(e.user.Topic, err)
			continue
		}
		e.seat = seat
		judged, before = append(judged, e), append(before, rec)
		b.Items = append(b.Items, interceptor.Item{Record: rec})
	}
	seat.OnSend(context.Background(), b)
	for i, e := range judged {
		s.apply(e, &b.Items[i], &before[i])
	}
	b.Reset()
	s.batches.Put(b)
}

// record adds the partition that the user demands, which only a producer with
// sarama's manual partitioner lets him do.
func (s *sender) record(msg *sarama.ProducerMessage) (klamm.Record, error) {
	rec, err := recordOf(msg)
	if err == nil && msg.Partition >= 0 && s.targets.of(msg.Topic) == manual {
		rec.Target = klamm.ToPartition(msg.Partition)
	}
	return rec, err
}

// apply notes a verdict.
func (s *sender) apply(e *entry, it *interceptor.Item, before *klamm.Record) {
	e.ticket = e.seat.NewTicket(it)
	rec := &it.Record
	switch it.Outcome {
	case klamm.Dropped:
		if e.ticket.Waits() {
			s.await(e)
			return
		}
		e.end = klamm.Result{Outcome: klamm.Dropped, Plugin: it.Plugin, Reason: it.Reason}
	case klamm.Failed:
		e.end = klamm.Result{Outcome: klamm.Failed, Plugin: it.Plugin, Reason: it.Reason, Err: it.Err}
	case klamm.DeadLettered:
		e.by = verdict{klamm.DeadLettered, it.Plugin, it.Reason}
		dead := interceptor.DeadLetterRecord(it, interceptor.Sent)
		rec = &dead
		fallthrough
	default:
		e.fill(rec, before)
		if err := s.targets.apply(&e.msg, rec); err != nil {
			e.end = failure(rec.Topic, err)
		}
		return
	}
	e.end.Topic, e.end.Partition, e.end.Offset = rec.Topic, klamm.NoPartition, klamm.NoOffset
}

func (s *sender) await(e *entry) {
	e.woken = make(chan struct{})
	e.seat.Await(&e.ticket, func(r klamm.Result) {
		e.end = r
		close(e.woken)
		s.settled(e)
	})
}

// abandon fails a message that still waits for the one that it duplicates.
func (s *sender) abandon(e *entry) {
	if !e.seat.Abandon(&e.ticket) {
		return
	}
	e.end = failure(e.user.Topic, fmt.Errorf("producer %w while the message waited for the one that it duplicates: %w", klamm.ErrClosed, klamm.ErrOutcomeUnknown))
	close(e.woken)
	s.settled(e)
}

func failure(topic string, err error) klamm.Result {
	return klamm.Result{Outcome: klamm.Failed, Err: err, Topic: topic, Partition: klamm.NoPartition, Offset: klamm.NoOffset}
}

// fill makes sarama's message of a judged record.
func (e *entry) fill(rec, before *klamm.Record) {
	e.msg = sarama.ProducerMessage{
		Topic: rec.Topic, Key: encoder(owned(rec.Key, before.Key)), Value: encoder(owned(rec.Value, before.Value)),
		Headers: headersOf(rec, before, e.user.Headers), Metadata: e.user.Metadata,
		Partition: e.user.Partition, Offset: klamm.NoOffset, Timestamp: rec.Timestamp,
	}
}

// finish notes what sarama says of a message that it was handed.
func (e *entry) finish(err error) {
	out := e.out()
	e.end = klamm.Result{
		Outcome: klamm.Written, Topic: out.Topic, Partition: out.Partition, Offset: out.Offset, Timestamp: out.Timestamp,
	}
	if e.by.outcome == klamm.DeadLettered {
		e.end.Outcome, e.end.Plugin, e.end.Reason = klamm.DeadLettered, e.by.plugin, e.by.reason
	}
	if err != nil {
		e.end.Outcome, e.end.Offset, e.end.Err = klamm.Failed, klamm.NoOffset, err
	}
}

// complete tells claims and on_acknowledgement what became of messages.
func (s *sender) complete(entries []*entry) {
	ends := map[*host.ChainSeat][]host.Completion{}
	for _, e := range entries {
		if e.seat == nil {
			continue
		}
		end := host.Completion{Ticket: &e.ticket, Result: e.end}
		if end.Result.Err != nil {
			end.Result.Err = outcomeError(end.Result.Err)
		}
		ends[e.seat] = append(ends[e.seat], end)
	}
	for seat, of := range ends {
		seat.Complete(context.Background(), of)
	}
}

// tell writes the end into the user's message and returns its error. A message
// that failed stays as it is.
func (e *entry) tell() error {
	if e.end.Err != nil || e.seat == nil {
		return e.end.Err
	}
	switch e.end.Outcome {
	case klamm.Dropped:
		e.user.Partition, e.user.Offset = klamm.NoPartition, klamm.NoOffset
	default:
		e.user.Topic, e.user.Partition, e.user.Offset, e.user.Timestamp = e.end.Topic, e.end.Partition, e.end.Offset, e.end.Timestamp
	}
	if e.end.Outcome != klamm.Written {
		verdicts.note(e.user, verdict{e.end.Outcome, e.end.Plugin, e.end.Reason})
	}
	return nil
}
