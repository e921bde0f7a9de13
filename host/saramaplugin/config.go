package saramaplugin

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm/host"
)

// NewAsyncProducer makes a producer and wraps it. It works on a copy of cfg in
// which Return.Successes and Return.Errors are on and the partitioner is Routed;
// what the program sees follows cfg: with Return.Successes off nobody needs to
// read Successes().
func NewAsyncProducer(h *host.Host, addrs []string, cfg *sarama.Config) (sarama.AsyncProducer, error) {
	inner := prepared(cfg)
	p, err := sarama.NewAsyncProducer(addrs, inner)
	if err != nil {
		return nil, err
	}
	w, err := wrapAsync(h, inner, p)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	w.returns = cfg.Producer.Return
	w.start()
	return w, nil
}

// NewSyncProducer makes a producer and wraps it, as NewAsyncProducer does.
func NewSyncProducer(h *host.Host, addrs []string, cfg *sarama.Config) (sarama.SyncProducer, error) {
	inner := prepared(cfg)
	p, err := sarama.NewSyncProducer(addrs, inner)
	if err != nil {
		return nil, err
	}
	w, err := WrapSyncProducer(h, inner, p)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return w, nil
}

func prepared(cfg *sarama.Config) *sarama.Config {
	cp := *cfg
	cp.Producer.Return.Successes, cp.Producer.Return.Errors = true, true
	cp.Producer.Partitioner = Routed(cfg.Producer.Partitioner)
	return &cp
}

// check finds what a producer must not be.
func check(h *host.Host, cfg *sarama.Config, transactional bool) error {
	if h == nil || cfg == nil {
		return errors.New("wrap a sarama producer: the host and the producer's configuration are needed")
	}
	var errs []error
	if !cfg.Producer.Return.Successes || !cfg.Producer.Return.Errors {
		errs = append(errs, fmt.Errorf("wrap a sarama producer: Producer.Return.Successes is %t and Producer.Return.Errors is %t; "+
			"claims and on_acknowledgement need both: set them and read both channels, or let saramaplugin.NewAsyncProducer make the producer",
			cfg.Producer.Return.Successes, cfg.Producer.Return.Errors))
	}
	if transactional {
		for _, c := range h.Chains() {
			if c.Claims {
				errs = append(errs, fmt.Errorf("wrap a transactional sarama producer: chain %q has a plugin that claims ids, "+
					"and sarama does not tell when a transaction of unknown outcome ended; use a pipeline of Klamm's, or a producer without transactions", c.Name))
			}
		}
	}
	return errors.Join(errs...)
}

// Counts returns the identity of the messages that a wrapper's plugins judged:
// in = out + dropped + dead-lettered + failed + in flight. Messages of topics
// without a chain are not in it. It is zero for what this package did not wrap.
func Counts(wrapped any) host.Counts {
	if c, ok := wrapped.(interface{ counts() host.Counts }); ok {
		return c.counts()
	}
	return host.Counts{}
}
