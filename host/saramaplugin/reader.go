package saramaplugin

import (
	"context"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
)

// gather reads a message and those that are there behind it. It returns none
// when the channel or stop is closed.
func gather(from <-chan *sarama.ConsumerMessage, stop <-chan struct{}, into []*sarama.ConsumerMessage) []*sarama.ConsumerMessage {
	select {
	case <-stop:
		return nil
	case msg, ok := <-from:
		if !ok {
			return nil
		}
		into = append(into, msg)
	}
	for len(into) < batchMax {
		select {
		case msg, ok := <-from:
			if !ok {
				return into
			}
			into = append(into, msg)
		default:
			return into
		}
	}
	return into
}

// judged is one message that was read and judged.
type judged struct {
	msg    *sarama.ConsumerMessage // as plugins left it
	ticket host.Ticket
	item   *interceptor.Item // valid until the next batch
}

// reader judges what one partition yields.
type reader struct {
	seat   *host.ChainSeat
	batch  interceptor.Batch
	before []klamm.Record
	judged []judged
}

func (r *reader) judge(msgs []*sarama.ConsumerMessage) []judged {
	r.batch.Reset()
	r.before, r.judged = r.before[:0], r.judged[:0]
	for _, msg := range msgs {
		rec := recordRead(msg)
		r.before = append(r.before, rec)
		r.batch.Items = append(r.batch.Items, interceptor.Item{Record: rec})
	}
	r.seat.OnConsume(context.Background(), &r.batch)
	for i, msg := range msgs {
		it := &r.batch.Items[i]
		j := judged{msg: msg, item: it, ticket: r.seat.NewTicket(it)}
		if it.Outcome == klamm.InFlight {
			j.msg = messageRead(msg, &it.Record, &r.before[i])
		}
		if j.ticket.Waits() {
			// Final here: the record that it duplicates is read again unless it is
			// handled, so that nothing can be lost.
			r.seat.Forgo(&j.ticket)
		}
		r.judged = append(r.judged, j)
	}
	return r.judged
}

func (j *judged) dropped() klamm.Result {
	return klamm.Result{Outcome: klamm.Dropped, Plugin: j.item.Plugin, Reason: j.item.Reason, Topic: j.msg.Topic, Partition: j.msg.Partition, Offset: j.msg.Offset}
}

// failed is why the consumption ends here.
func (j *judged) failed() error {
	return fmt.Errorf("consume %s/%d@%d: %w", j.msg.Topic, j.msg.Partition, j.msg.Offset, j.item.Err)
}

func deadLettered(err error) klamm.Result {
	if err != nil {
		return klamm.Result{Outcome: klamm.Failed, Err: err, Partition: klamm.NoPartition, Offset: klamm.NoOffset}
	}
	return klamm.Result{Outcome: klamm.DeadLettered, Partition: klamm.NoPartition, Offset: klamm.NoOffset}
}
