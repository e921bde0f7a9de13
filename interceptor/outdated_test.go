package interceptor

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// A block that a new generation refuses, as it asks for more, is built anew, and
// nobody can tell.
func TestOutdatedBlockIsBuiltAnew(t *testing.T) {
	var said []string
	s := &fakeSeat{}
	outdated := func(what string, b *runtime.Block) error {
		said = append(said, fmt.Sprintf("%s of %d", what, b.Len()))
		if len(said)%2 == 0 {
			return nil
		}
		moved := *s.gen
		moved.number++
		s.gen = &moved
		return fmt.Errorf("call: %w", runtime.ErrOutdated)
	}
	s.onSend = func(c *fakeCall) error {
		if err := outdated("send", c.b); err != nil {
			return err
		}
		for i := range c.b.Len() {
			c.edit(i, runtime.Edit{Op: abi.OpAddHeader, Key: []byte("seen"), Value: []byte("1")})
		}
		return nil
	}
	s.told = func(h abi.Hook, b *runtime.Block) error { return outdated(h.String(), b) }
	link := s.link("p")
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{link}, OnAcknowledgement: []Link{link}, OnCommit: []Link{link}, Metrics: &m})

	b := batchOf("a", "b", "c")
	l.OnSend(context.Background(), b)
	for i := range b.Items {
		it := &b.Items[i]
		if it.Outcome != klamm.InFlight || it.Err != nil || len(it.Record.Headers) != 1 || it.Generations&0xf != 2 {
			t.Errorf("record %d: %v (%v), headers %v, generation %d", i, it.Outcome, it.Err, it.Record.Headers, it.Generations)
		}
	}
	acks := []Ack{{Record: b.Items[0].Record, Ref: 1, Offered: 1}, {Record: b.Items[1].Record, Ref: 2, Offered: 1}}
	l.OnAcknowledgement(context.Background(), acks)
	l.OnCommit(context.Background(), []Commit{{Topic: "orders", Partition: 1, Offset: 42}})
	want := []string{"send of 3", "send of 3", "on_acknowledgement of 2", "on_acknowledgement of 2", "on_commit of 1", "on_commit of 1"}
	if !slices.Equal(said, want) {
		t.Errorf("calls %q, want %q", said, want)
	}
	if n := sum(&m, "fault "); n != 0 || m.get("records p on_send") != 3 || m.get("records p on_acknowledgement") != 2 {
		t.Errorf("metrics %v", m.m)
	}
}
