package interceptor

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// Two lanes judge records with the same ids while their acknowledgements are
// told and new versions come in. Every record ends once, every id is written
// once, and each plugin gets one entry for each record.
func TestLanesSwapsAndAcknowledgements(t *testing.T) {
	const (
		lanes   = 2
		batches = 60
		records = 16
		swaps   = 6
	)
	e := engineOf(t)
	versions := [][]byte{sieve(sieveOptions{}), sieve(sieveOptions{edit: 8})}
	p := pluginOf(t, e, "sieve", versions[0])
	ledger, space := spaceOf(t, "sieve")
	list := []Link{{Name: "sieve", Plugin: p, Space: space, Timeout: longTime}}
	var m counts
	c, err := NewChain(ChainConfig{Name: "c", OnSend: list, OnAcknowledgement: list, Metrics: &m})
	if err != nil {
		t.Fatal(err)
	}
	h := &endings{ledger: ledger, done: map[uint64]klamm.Outcome{}, ids: map[uint64]string{}}
	var running sync.WaitGroup
	for lane := range lanes {
		l, err := c.Lane(context.Background(), lane, lanes)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		acks := make(chan []Ack, 4)
		running.Go(func() {
			defer close(acks)
			for n := range batches {
				b := laneBatch(lane*batches+n, n, records)
				l.OnSend(context.Background(), b)
				h.end(b)
				acks <- acksFor(b)
			}
		})
		running.Go(func() {
			for a := range acks {
				l.OnAcknowledgement(context.Background(), a)
			}
		})
	}
	running.Go(func() {
		for i := range swaps {
			if err := p.Load(context.Background(), versions[(i+1)%2]); err != nil {
				t.Error(err)
			}
		}
	})
	running.Wait()

	h.check(t, &m, lanes*batches*records)
}

const sharedIDs = 700 // of the records of all lanes

// laneBatch makes a batch whose ids the other lanes have, too.
func laneBatch(serial, n, records int) *Batch {
	b := &Batch{NowMS: nowMS}
	for i := range records {
		b.Items = append(b.Items, Item{Ref: uint64(serial*records + i + 1), Record: klamm.Record{
			Topic: "orders", Key: fmt.Appendf(nil, "id-%d", (n*records+i)%sharedIDs), Value: []byte("v"),
		}})
	}
	return b
}

// endings completes records as a host does.
type endings struct {
	ledger *state.Ledger

	mu   sync.Mutex
	done map[uint64]klamm.Outcome
	ids  map[uint64]string
}

func (h *endings) end(b *Batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range b.Items {
		it := &b.Items[i]
		h.ids[it.Ref] = string(it.Record.Key)
		o := it.Outcome
		if it.Wait != nil {
			r, settled := it.Wait.Commit(state.Ref(it.Ref), it.Plugin)
			if !settled {
				continue
			}
			o = r.Outcome
		}
		if o == klamm.InFlight {
			o = klamm.Written
		}
		h.done[it.Ref] = o
		for _, r := range h.ledger.Settle(state.Ref(it.Ref), state.Settlement{Outcome: o, At: state.Position{Topic: it.Record.Topic}, NowMS: nowMS}) {
			h.done[uint64(r.Waiter)] = r.Outcome
		}
	}
}

func (h *endings) check(t *testing.T, m *counts, total int) {
	t.Helper()
	if len(h.done) != total {
		t.Errorf("%d of %d records ended", len(h.done), total)
	}
	written := map[string]int{}
	for ref, o := range h.done {
		if o == klamm.Written {
			written[h.ids[ref]]++
		}
	}
	for id, n := range written {
		if n != 1 {
			t.Errorf("%s was written %d times", id, n)
		}
	}
	if len(written) != sharedIDs {
		t.Errorf("%d ids were written, want %d", len(written), sharedIDs)
	}
	if got := m.get("records sieve on_send"); got != total {
		t.Errorf("judged: got %d, want %d", got, total)
	}
	if got, want := m.get("counter sieve dropped_total"), total-sharedIDs+1000*total; got != want {
		t.Errorf("counter: got %d, want %d drops and acknowledgements", got, want)
	}
	if f := sum(m, "fault"); f != 0 {
		t.Errorf("faults: %v", m.m)
	}
}
