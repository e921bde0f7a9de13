package saramaplugin

import (
	"errors"
	"fmt"
	"sync"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// WrapSyncProducer puts the host's chains around a producer, which is the
// wrapper's from then on. cfg is the configuration that p was made with.
//
// SendMessage returns partition and offset -1 and no error for a message that a
// plugin dropped; ask DroppedBy. A message that was dropped as the duplicate of
// one in flight returns when that one has its end, and shares it. What else the
// messages tell afterwards is as with WrapAsyncProducer.
func WrapSyncProducer(h *host.Host, cfg *sarama.Config, p sarama.SyncProducer) (sarama.SyncProducer, error) {
	if err := check(h, cfg, p.IsTransactional()); err != nil {
		return nil, err
	}
	w := &syncProducer{inner: p, sender: newSender(h, cfg, func(*entry) {}), closing: make(chan struct{})}
	w.txn = txn{inner: p, sender: w.sender, barrier: func() {}}
	return w, nil
}

type syncProducer struct {
	txn
	inner  sarama.SyncProducer
	sender *sender

	closing   chan struct{}
	closeOnce sync.Once
	closed    error
	// sending is held for reading by every send, so that plugins are closed after
	// the last one.
	sending sync.RWMutex
}

var _ sarama.SyncProducer = (*syncProducer)(nil)

func (p *syncProducer) counts() host.Counts { return p.sender.counts() }

// SendMessage sends one message past the plugins and waits for its end.
func (p *syncProducer) SendMessage(msg *sarama.ProducerMessage) (partition int32, offset int64, err error) {
	entries, err := p.send([]*sarama.ProducerMessage{msg})
	if err != nil {
		return -1, -1, err
	}
	if err := entries[0].tell(); err != nil {
		return -1, -1, err
	}
	return msg.Partition, msg.Offset, nil
}

// SendMessages sends messages past the plugins and waits for all of them. The
// error is a sarama.ProducerErrors of those that failed.
func (p *syncProducer) SendMessages(msgs []*sarama.ProducerMessage) error {
	entries, err := p.send(msgs)
	if err != nil {
		return err
	}
	var errs sarama.ProducerErrors
	for _, e := range entries {
		if err := e.tell(); err != nil {
			errs = append(errs, &sarama.ProducerError{Msg: e.user, Err: err})
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

func (p *syncProducer) send(msgs []*sarama.ProducerMessage) ([]*entry, error) {
	p.sending.RLock()
	defer p.sending.RUnlock()
	select {
	case <-p.closing:
		return nil, fmt.Errorf("producer %w: %w", klamm.ErrClosed, sarama.ErrShuttingDown)
	default:
	}
	entries := p.sender.judge(msgs)
	p.handOver(entries)
	var own, waiting []*entry
	for _, e := range entries {
		if e.ticket.Waits() {
			waiting = append(waiting, e)
		} else {
			own = append(own, e)
		}
	}
	// Those that others wait for are settled before anybody waits: two senders
	// may each hold what the other's messages duplicate.
	p.sender.complete(own)
	for _, e := range waiting {
		p.await(e)
	}
	p.sender.complete(waiting)
	return entries, nil
}

// handOver lets sarama send what passed.
func (p *syncProducer) handOver(entries []*entry) {
	var out []*sarama.ProducerMessage
	var sent []*entry
	for _, e := range entries {
		if e.goes() {
			out, sent = append(out, e.out()), append(sent, e)
		}
	}
	switch len(out) {
	case 0:
	case 1:
		_, _, err := p.inner.SendMessage(out[0])
		sent[0].finish(err)
	default:
		failed, all := errorsOf(p.inner.SendMessages(out))
		for i, e := range sent {
			err := all
			if err == nil {
				err = failed[out[i]]
			}
			e.finish(err)
		}
	}
}

// errorsOf returns which messages failed, or why all did.
func errorsOf(err error) (failed map[*sarama.ProducerMessage]error, all error) {
	var errs sarama.ProducerErrors
	if !errors.As(err, &errs) {
		return nil, err
	}
	failed = make(map[*sarama.ProducerMessage]error, len(errs))
	for _, e := range errs {
		failed[e.Msg] = e.Err
	}
	return failed, nil
}

func (p *syncProducer) await(e *entry) {
	select {
	case <-e.woken:
	case <-p.closing:
		p.sender.abandon(e)
		<-e.woken
	}
}

// Close sends what is being sent and closes the producer and the plugins. It may
// be called twice.
func (p *syncProducer) Close() error {
	p.closeOnce.Do(func() {
		close(p.closing)
		p.sending.Lock()
		defer p.sending.Unlock()
		p.closed = errors.Join(p.inner.Close(), p.sender.close())
	})
	return p.closed
}
