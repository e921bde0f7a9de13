package cluster

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
)

// InitProducerID asks for a producer id and epoch (KIP-98).
//
// With an empty transactionalID any broker answers. With one the coordinator
// does, fences earlier producers of the same id and ends their open transaction;
// timeout is transaction.timeout.ms. pid and epoch are what the producer has, or
// -1 and -1 (KIP-360).
//
// It repeats the request while its error is one that passes, until ctx ends;
// then the error wraps klamm.ErrTimeout and the last cause. klamm.ErrFenced and
// other refusals come at once.
func (c *Cluster) InitProducerID(ctx context.Context, transactionalID string, timeout time.Duration, pid int64, epoch int16) (int64, int16, error) {
	req := &sarama.InitProducerIDRequest{
		Version:            4,
		TransactionTimeout: timeout,
		ProducerID:         pid,
		ProducerEpoch:      epoch,
	}
	what := "producer id"
	if transactionalID != "" {
		what = fmt.Sprintf("producer id of transactional.id %q", transactionalID)
		req.TransactionalID = &transactionalID
	} else if timeout <= 0 {
		// Not used without transactions; Kafka's clients send the largest.
		req.TransactionTimeout = math.MaxInt32 * time.Millisecond
	}
	var resp *sarama.InitProducerIDResponse
	err := c.retry(ctx, what, func(ctx context.Context) error {
		r := *req // sarama lowers its version to the broker's
		var err error
		resp, err = c.initProducerID(ctx, transactionalID, &r)
		return err
	})
	if err != nil {
		return -1, -1, err
	}
	return resp.ProducerID, resp.ProducerEpoch, nil
}

func (c *Cluster) initProducerID(ctx context.Context, transactionalID string, req *sarama.InitProducerIDRequest) (resp *sarama.InitProducerIDResponse, err error) {
	var l *link
	if transactionalID == "" {
		l, err = c.openAny(ctx)
	} else {
		l, err = c.openCoordinator(ctx, sarama.CoordinatorTransaction, transactionalID)
	}
	if err != nil {
		return nil, err
	}
	defer l.close()
	err = l.do(ctx, func(b *sarama.Broker) (err error) {
		resp, err = b.InitProducerID(req)
		return err
	})
	if err != nil {
		return nil, l.explain(ctx, c.settings, err)
	}
	if resp.Err == sarama.ErrInvalidProducerEpoch {
		// From a coordinator it means what PRODUCER_FENCED does (KIP-588).
		return nil, brokerError(sarama.ErrProducerFenced, nil)
	}
	return resp, brokerError(resp.Err, nil)
}

// Coordinator returns the id and address of the broker that coordinates a group.
func (c *Cluster) Coordinator(ctx context.Context, group string) (id int32, err error) {
	cand, err := c.findCoordinator(ctx, sarama.CoordinatorGroup, group)
	return cand.id, err
}

// TransactionCoordinator returns the id of the broker that coordinates a
// transactional id.
func (c *Cluster) TransactionCoordinator(ctx context.Context, transactionalID string) (id int32, err error) {
	cand, err := c.findCoordinator(ctx, sarama.CoordinatorTransaction, transactionalID)
	return cand.id, err
}

func (c *Cluster) openCoordinator(ctx context.Context, kind sarama.CoordinatorType, key string) (*link, error) {
	cand, err := c.findCoordinator(ctx, kind, key)
	if err != nil {
		return nil, err
	}
	l, err := c.open(ctx, cand.id, cand.addr)
	if err != nil {
		return nil, unreachable([]error{err})
	}
	return l, nil
}

func (c *Cluster) findCoordinator(ctx context.Context, kind sarama.CoordinatorType, key string) (candidate, error) {
	l, err := c.openAny(ctx)
	if err != nil {
		return candidate{}, err
	}
	defer l.close()
	var resp *sarama.FindCoordinatorResponse
	err = l.do(ctx, func(b *sarama.Broker) (err error) {
		resp, err = b.FindCoordinator(&sarama.FindCoordinatorRequest{Version: 3, CoordinatorKey: key, CoordinatorType: kind})
		return err
	})
	if err != nil {
		return candidate{}, l.explain(ctx, c.settings, err)
	}
	if err := brokerError(resp.Err, resp.ErrMsg); err != nil {
		return candidate{}, err
	}
	if resp.Coordinator == nil {
		return candidate{}, &klamm.BrokerError{Code: klamm.CodeCoordinatorNotAvailable}
	}
	cand := candidate{resp.Coordinator.ID(), resp.Coordinator.Addr()}
	c.mu.Lock()
	c.brokers[cand.id] = cand.addr
	c.mu.Unlock()
	return cand, nil
}

// retry repeats f while its error may pass, with the backoff of KIP-580.
func (c *Cluster) retry(ctx context.Context, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(c.ctx, cancel)
	defer stop()
	var last error // that is not ctx's own end
	for n := 1; ; n++ {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		if closed := c.closedError(); closed != nil {
			return fmt.Errorf("%s: %w", what, closed)
		}
		if ctx.Err() == nil && !retriable(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-time.After(backoff(n)):
		case <-ctx.Done():
			if closed := c.closedError(); closed != nil {
				return fmt.Errorf("%s: %w", what, closed)
			}
			return ended(ctx, what, last)
		}
	}
}
