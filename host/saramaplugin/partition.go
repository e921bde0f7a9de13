package saramaplugin

import (
	"context"
	"sync"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// WrapPartitionConsumer lets on_consume judge what a partition consumer reads,
// which is the wrapper's from then on. Messages() has those that pass, as
// plugins left them.
//
// A message that a plugin failed, or whose dead letter could not be written,
// ends the consumption: the error is the last one on Errors(), and Messages() is
// closed, so that nothing is passed over unseen. Dead letters are written with
// the host's own producer before the messages behind them are handed on.
//
// Such a consumer has no marks and no commits: ids claimed in on_consume are
// kept when their message is handed on, and on_commit is not run. A program that
// keeps its own offsets stores those of the messages that it gets; dropped ones
// behind the last of them are read, and dropped, again.
func WrapPartitionConsumer(h *host.Host, c sarama.PartitionConsumer) sarama.PartitionConsumer {
	w := &partitionConsumer{
		PartitionConsumer: c, seats: newSeats(h), consumes: map[string]bool{},
		out: make(chan *sarama.ConsumerMessage), errors: make(chan *sarama.ConsumerError, errorsMax),
		closing: make(chan struct{}),
	}
	for _, info := range h.Chains() {
		w.consumes[info.Name] = info.Consumes
	}
	forwarded := make(chan struct{})
	go func() { defer close(forwarded); w.forward() }()
	go w.run(forwarded)
	return w
}

// errorsMax is how many errors wait for who reads them; sarama has none on
// Errors() unless Consumer.Return.Errors is on.
const errorsMax = 64

type partitionConsumer struct {
	sarama.PartitionConsumer
	seats     *seats
	consumes  map[string]bool
	reader    reader
	out       chan *sarama.ConsumerMessage
	errors    chan *sarama.ConsumerError
	closing   chan struct{}
	closeOnce sync.Once
}

func (p *partitionConsumer) Messages() <-chan *sarama.ConsumerMessage { return p.out }
func (p *partitionConsumer) Errors() <-chan *sarama.ConsumerError     { return p.errors }

// AsyncClose ends the consumption; messages that were not handed on are left
// out, as sarama does.
func (p *partitionConsumer) AsyncClose() {
	p.closeOnce.Do(func() { close(p.closing) })
	p.PartitionConsumer.AsyncClose()
}

// Close is AsyncClose and returns the errors that were left.
func (p *partitionConsumer) Close() error {
	p.AsyncClose()
	go func() {
		for range p.out { // nobody else has to
		}
	}()
	var errs sarama.ConsumerErrors
	for err := range p.errors {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

func (p *partitionConsumer) forward() {
	for err := range p.PartitionConsumer.Errors() {
		p.errors <- err
	}
}

func (p *partitionConsumer) run(forwarded <-chan struct{}) {
	failed := p.feed()
	if failed != nil {
		p.PartitionConsumer.AsyncClose()
	}
	for range p.PartitionConsumer.Messages() { // until sarama has closed it
	}
	<-forwarded
	if failed != nil {
		select {
		case p.errors <- failed:
		default:
			sarama.Logger.Println(failed)
		}
	}
	if err := p.seats.close(); err != nil {
		sarama.Logger.Println("saramaplugin: close the plugins:", err)
	}
	close(p.out)
	close(p.errors)
}

// feed hands on what passes until the consumer ends, or returns why it must.
func (p *partitionConsumer) feed() *sarama.ConsumerError {
	var msgs []*sarama.ConsumerMessage
	for {
		msgs = gather(p.PartitionConsumer.Messages(), p.closing, msgs[:0])
		if len(msgs) == 0 {
			return nil
		}
		if err := p.judge(msgs); err != nil {
			return &sarama.ConsumerError{Topic: msgs[0].Topic, Partition: msgs[0].Partition, Err: err}
		}
	}
}

func (p *partitionConsumer) judge(msgs []*sarama.ConsumerMessage) error {
	chain := p.seats.h.ChainFor(msgs[0].Topic)
	if chain == "" || !p.consumes[chain] {
		for _, msg := range msgs {
			p.hand(msg)
		}
		return nil
	}
	var err error
	if p.reader.seat, err = p.seats.of(chain); err != nil {
		return err
	}
	for _, j := range p.reader.judge(msgs) {
		if err == nil {
			err = p.one(&j)
		} else {
			p.end(&j, klamm.Result{Outcome: klamm.Failed, Err: errClaimEnded})
		}
	}
	return err
}

// one ends one message. Its claims end with it.
func (p *partitionConsumer) one(j *judged) error {
	switch j.item.Outcome {
	case klamm.Dropped:
		p.end(j, j.dropped())
	case klamm.DeadLettered:
		return p.deadLetter(j)
	case klamm.Failed:
		p.end(j, klamm.Result{Outcome: klamm.Failed, Err: j.item.Err, Plugin: j.item.Plugin})
		return j.failed()
	default:
		r := klamm.Result{Outcome: klamm.Written, Topic: j.msg.Topic, Partition: j.msg.Partition, Offset: j.msg.Offset}
		if !p.hand(j.msg) {
			r = klamm.Result{Outcome: klamm.Failed, Err: errClaimEnded}
		}
		p.end(j, r)
	}
	return nil
}

func (p *partitionConsumer) hand(msg *sarama.ConsumerMessage) bool {
	select {
	case p.out <- msg:
		return true
	case <-p.closing:
		return false
	}
}

func (p *partitionConsumer) end(j *judged, r klamm.Result) {
	p.reader.seat.Settle([]host.Completion{{Ticket: &j.ticket, Result: r}})
}

func (p *partitionConsumer) deadLetter(j *judged) error {
	written := make(chan error, 1)
	p.reader.seat.DeadLetter(context.Background(), j.item, func(err error) { written <- err })
	err := <-written
	p.end(j, deadLettered(err))
	return err
}
