package trial

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/checker"
)

// Names of the interceptors that a trial brings.
const (
	probeName   = "trial-probe"
	deduperName = "trial-deduper"
)

// probe notes each call of an interceptor.
type probe struct{ t *Trial }

var (
	_ interceptor.OnSender       = (*probe)(nil)
	_ interceptor.OnAcknowledger = (*probe)(nil)
)

func (p *probe) OnSend(_ context.Context, items []*interceptor.Item) error {
	for _, it := range items {
		if err := p.note(checker.OnSend, it.Record.Headers); err != nil {
			return err
		}
	}
	return nil
}

func (p *probe) OnAcknowledgement(_ context.Context, acks []*interceptor.Ack) error {
	for _, a := range acks {
		if err := p.note(checker.OnAcknowledgement, a.Record.Headers); err != nil {
			return err
		}
	}
	return nil
}

func (p *probe) note(h checker.Hook, headers []klamm.Header) error {
	if len(headers) == 0 || headers[0].Key != checker.IDHeader || len(headers[0].Value) != 8 {
		err := fmt.Errorf("an interceptor was given a record without header %q: %v", checker.IDHeader, headers)
		p.t.note(err)
		return err
	}
	err := p.t.history.Hook(h, checker.ID(binary.BigEndian.Uint64(headers[0].Value)))
	p.t.note(err)
	return err
}
