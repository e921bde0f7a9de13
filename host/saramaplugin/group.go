package saramaplugin

import (
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// WrapConsumerGroupHandler lets on_consume judge what a group's handler reads.
// The handler gets the messages that pass, as plugins left them, in the order of
// each partition.
//
// Messages that a plugin dropped, or dead-lettered, are marked for it as soon as
// it has marked all messages before them, so that the committed offset advances
// past them and over nothing else. A message that a plugin failed ends
// ConsumeClaim with the plugin's error: it is not marked and is read again. Dead
// letters are written with the host's own producer.
//
// Ids claimed in on_consume are kept when the handler marks their message, and
// released when the claim ends before. on_commit is not run: sarama tells nobody
// whether a commit of a group succeeded. It is run for offsets that a wrapped
// transactional producer commits.
//
// Plugins are instantiated for each session, from Setup to Cleanup.
func WrapConsumerGroupHandler(h *host.Host, handler sarama.ConsumerGroupHandler) sarama.ConsumerGroupHandler {
	return &groupHandler{h: h, inner: handler, sessions: map[sarama.ConsumerGroupSession]*session{}}
}

type groupHandler struct {
	h     *host.Host
	inner sarama.ConsumerGroupHandler

	mu       sync.Mutex
	sessions map[sarama.ConsumerGroupSession]*session
}

// Setup implements sarama.ConsumerGroupHandler.
func (g *groupHandler) Setup(s sarama.ConsumerGroupSession) error {
	err := g.inner.Setup(g.session(s))
	if err != nil {
		err = errors.Join(err, g.end(s))
	}
	return err
}

// Cleanup implements sarama.ConsumerGroupHandler.
func (g *groupHandler) Cleanup(s sarama.ConsumerGroupSession) error {
	err := g.inner.Cleanup(g.session(s))
	return errors.Join(err, g.end(s))
}

// ConsumeClaim implements sarama.ConsumerGroupHandler.
func (g *groupHandler) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	ss := g.session(s)
	chain := g.h.ChainFor(c.Topic())
	if chain == "" || !ss.consumes[chain] {
		return g.inner.ConsumeClaim(ss, c)
	}
	seat, err := ss.seats.of(chain)
	if err != nil {
		return err
	}
	w := newClaim(ss, c, seat)
	return w.run(func() error { return g.inner.ConsumeClaim(ss, w) })
}

func (g *groupHandler) session(s sarama.ConsumerGroupSession) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	ss := g.sessions[s]
	if ss == nil {
		ss = &session{ConsumerGroupSession: s, seats: newSeats(g.h), consumes: map[string]bool{}, positions: map[klamm.TopicPartition]*position{}}
		for _, c := range g.h.Chains() {
			ss.consumes[c.Name] = c.Consumes
		}
		g.sessions[s] = ss
	}
	return ss
}

func (g *groupHandler) end(s sarama.ConsumerGroupSession) error {
	g.mu.Lock()
	ss := g.sessions[s]
	delete(g.sessions, s)
	g.mu.Unlock()
	if ss == nil {
		return nil
	}
	return ss.seats.close()
}

// session is the handler's view of a session: its marks go through positions.
type session struct {
	sarama.ConsumerGroupSession
	seats    *seats
	consumes map[string]bool // by chain

	mu        sync.Mutex
	positions map[klamm.TopicPartition]*position
}

func (s *session) at(topic string, partition int32) *position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.positions[klamm.TopicPartition{Topic: topic, Partition: partition}]
}

// set makes p the partition's position; nil ends it.
func (s *session) set(topic string, partition int32, p *position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if tp := (klamm.TopicPartition{Topic: topic, Partition: partition}); p != nil {
		s.positions[tp] = p
	} else {
		delete(s.positions, tp)
	}
}

// MarkOffset implements sarama.ConsumerGroupSession.
func (s *session) MarkOffset(topic string, partition int32, offset int64, metadata string) {
	if p := s.at(topic, partition); p != nil {
		p.markTo(topic, partition, offset, metadata)
		return
	}
	s.ConsumerGroupSession.MarkOffset(topic, partition, offset, metadata)
}

// MarkMessage implements sarama.ConsumerGroupSession.
func (s *session) MarkMessage(msg *sarama.ConsumerMessage, metadata string) {
	s.MarkOffset(msg.Topic, msg.Partition, msg.Offset+1, metadata)
}

// ResetOffset implements sarama.ConsumerGroupSession.
func (s *session) ResetOffset(topic string, partition int32, offset int64, metadata string) {
	if p := s.at(topic, partition); p != nil {
		p.resetTo(offset)
	}
	s.ConsumerGroupSession.ResetOffset(topic, partition, offset, metadata)
}

// claim is the handler's view of a claim.
type claim struct {
	sarama.ConsumerGroupClaim
	session *session
	reader  reader
	pos     *position
	out     chan *sarama.ConsumerMessage
	letters sync.WaitGroup // dead letters on their way

	stop     chan struct{}
	stopOnce sync.Once
	mu       sync.Mutex
	err      error
}

// letterGrace bounds how long the end of a claim waits for dead letters; one
// that is not written by then is read again.
const letterGrace = 5 * time.Second

func newClaim(s *session, c sarama.ConsumerGroupClaim, seat *host.ChainSeat) *claim {
	topic, partition := c.Topic(), c.Partition()
	w := &claim{
		ConsumerGroupClaim: c, session: s, reader: reader{seat: seat},
		out: make(chan *sarama.ConsumerMessage), stop: make(chan struct{}),
	}
	w.pos = newPosition(func(next int64, metadata string) {
		s.ConsumerGroupSession.MarkOffset(topic, partition, next, metadata)
	})
	return w
}

// Messages implements sarama.ConsumerGroupClaim: those that passed.
func (c *claim) Messages() <-chan *sarama.ConsumerMessage { return c.out }

// run feeds the handler until it returns or the claim ends.
func (c *claim) run(handle func() error) error {
	c.session.set(c.Topic(), c.Partition(), c.pos)
	fed := make(chan struct{})
	go func() { defer close(fed); c.feed() }()
	err := handle()
	c.quit(nil)
	<-fed
	c.awaitLetters()
	c.pos.abandon()
	c.session.set(c.Topic(), c.Partition(), nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.err, err)
}

func (c *claim) awaitLetters() {
	written := make(chan struct{})
	go func() { defer close(written); c.letters.Wait() }()
	grace := time.NewTimer(letterGrace)
	defer grace.Stop()
	select {
	case <-written:
	case <-grace.C:
	}
}

// quit ends the feeding, because of err unless it is nil.
func (c *claim) quit(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.stopOnce.Do(func() { close(c.stop) })
}

func (c *claim) feed() {
	defer close(c.out)
	var msgs []*sarama.ConsumerMessage
	for {
		msgs = gather(c.ConsumerGroupClaim.Messages(), c.stop, msgs[:0])
		if len(msgs) == 0 {
			return
		}
		batch := c.reader.judge(msgs)
		for i := range batch {
			if err := c.one(&batch[i]); err != nil {
				c.giveUp(batch[i:])
				c.quit(err)
				return
			}
		}
	}
}

// one hands a message on, or passes over it.
func (c *claim) one(j *judged) error {
	seat, offset := c.reader.seat, j.msg.Offset
	switch j.item.Outcome {
	case klamm.Dropped:
		c.pos.skip(offset, seat, j.ticket, j.dropped())
		return nil
	case klamm.DeadLettered:
		c.deadLetter(j)
		return nil
	case klamm.Failed:
		return j.failed()
	}
	c.pos.add(offset, true, seat, j.ticket)
	select {
	case c.out <- j.msg:
	case <-c.stop:
	}
	return nil
}

func (c *claim) deadLetter(j *judged) {
	offset := j.msg.Offset
	c.pos.add(offset, false, c.reader.seat, j.ticket)
	c.letters.Add(1)
	c.reader.seat.DeadLetter(c.session.Context(), j.item, func(err error) {
		defer c.letters.Done()
		if err != nil {
			c.quit(err) // the position stays before it
			return
		}
		c.pos.end(offset, deadLettered(nil))
	})
}

// giveUp ends the messages that are judged and will not be handed on.
func (c *claim) giveUp(rest []judged) {
	for i := range rest {
		r := klamm.Result{Outcome: klamm.Failed, Err: errClaimEnded, Partition: klamm.NoPartition, Offset: klamm.NoOffset}
		c.reader.seat.Settle([]host.Completion{{Ticket: &rest[i].ticket, Result: r}})
	}
}
