package produce

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

// seedOf returns the seed that -seed gives, or another one each time. If the test
// fails it says how to have the same decisions again. Timing is not among them.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := *onlySeed
	if seed == 0 {
		seed = max(1, rand.Uint64())
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the same decisions again: go test ./host/internal/produce -run '^%s$' -seed %d", t.Name(), seed)
		}
	})
	return seed
}

// attempts is what was said of each batch: what went out and what came back on
// which connection, what the brokers worked off, and how batches ended. It is
// told where the checker finds something.
type attempts struct {
	start time.Time
	mu    sync.Mutex
	lines []attempt
	conns int
}

// attempt is a line of it. raw is the batch, of which refs are read when it is
// told.
type attempt struct {
	at        time.Duration
	partition int32
	what      string
	raw       []byte
	refs      []uint64
}

func newAttempts() *attempts { return &attempts{start: time.Now()} }

func (a *attempts) note(partition int32, raw []byte, refs []uint64, format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lines = append(a.lines, attempt{time.Since(a.start), partition, fmt.Sprintf(format, args...), raw, refs})
}

// complete notes how a batch ended, before h learns of it.
func (a *attempts) complete(h *history) func(*Completion) {
	return func(c *Completion) {
		end := fmt.Sprintf("acknowledged at %d", c.BaseOffset)
		if c.Err != nil {
			end = c.Err.Error()
		}
		a.note(c.Partition, nil, slices.Clone(c.Refs), "ended after %d attempts: %s", c.Attempts, end)
		h.complete(c)
	}
}

// watch notes the requests as brokers work them off, whoever waits for answers.
// It must come before any fault.
func (a *attempts) watch(k *kafka) {
	var last kmsg.Request // it is called for each partition
	k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Observe: true, Count: -1, When: func(r kmsg.Request) bool {
		if r != last {
			last = r
			eachBatch(r.(*kmsg.ProduceRequest), func(partition int32, raw []byte) {
				a.note(partition, slices.Clone(raw), nil, "a broker works off")
			})
		}
		return true
	}})
}

func eachBatch(r *kmsg.ProduceRequest, f func(partition int32, raw []byte)) {
	for _, topic := range r.Topics {
		for _, p := range topic.Partitions {
			f(p.Partition, p.Records)
		}
	}
}

// recordedNetwork is a network whose connections for records note what passes.
type recordedNetwork struct {
	network
	log *attempts
}

func (n recordedNetwork) dial(ctx context.Context, broker int32) (transport, error) {
	t, err := n.network.dial(ctx, broker)
	if err != nil {
		return nil, err
	}
	n.log.mu.Lock()
	n.log.conns++
	name := fmt.Sprintf("broker %d connection %d", broker, n.log.conns)
	n.log.mu.Unlock()
	return &recordedTransport{transport: t, log: n.log, name: name, sent: map[int32]*kmsg.ProduceRequest{}}, nil
}

type recordedTransport struct {
	transport
	log  *attempts
	name string

	mu   sync.Mutex
	sent map[int32]*kmsg.ProduceRequest // without an answer
	in   []byte                         // belongs to the reader
}

func (t *recordedTransport) WriteFrame(pieces net.Buffers) error {
	frame := slices.Concat(pieces...)
	id, r, err := readProduce(frame)
	if err != nil {
		return err
	}
	eachBatch(r, func(partition int32, raw []byte) { t.log.note(partition, raw, nil, "%s #%d out", t.name, id) })
	t.mu.Lock()
	t.sent[id] = r
	t.mu.Unlock()
	return t.transport.WriteFrame(pieces)
}

func (t *recordedTransport) Read(p []byte) (int, error) {
	n, err := t.transport.Read(p)
	t.in = append(t.in, p[:n]...)
	for len(t.in) >= 8 {
		size := 4 + int(binary.BigEndian.Uint32(t.in))
		if size < 8 || len(t.in) < size {
			break
		}
		t.answered(t.in[4:size])
		t.in = t.in[size:]
	}
	if err != nil {
		t.unanswered(err)
	}
	return n, err
}

func (t *recordedTransport) answered(body []byte) {
	id := int32(binary.BigEndian.Uint32(body))
	t.mu.Lock()
	r := t.sent[id]
	delete(t.sent, id)
	t.mu.Unlock()
	if r == nil {
		return
	}
	resp := r.ResponseKind().(*kmsg.ProduceResponse)
	body = body[4:]
	if resp.IsFlexible() {
		body = body[1:] // no tags
	}
	if err := resp.ReadFrom(body); err != nil {
		t.log.note(-1, nil, nil, "%s #%d: %v", t.name, id, err)
		return
	}
	batches := map[int32][]byte{}
	eachBatch(r, func(partition int32, raw []byte) { batches[partition] = raw })
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			t.log.note(p.Partition, batches[p.Partition], nil, "%s #%d answered %s offset=%d log_start=%d", t.name, id, klamm.Code(p.ErrorCode).Name(), p.BaseOffset, p.LogStartOffset)
		}
	}
}

func (t *recordedTransport) unanswered(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, r := range t.sent {
		eachBatch(r, func(partition int32, raw []byte) {
			t.log.note(partition, raw, nil, "%s #%d unanswered: %v", t.name, id, err)
		})
	}
	clear(t.sent)
}

// recorded makes a pipeline on c whose attempts are noted.
func (k *kafka) recorded(c Cluster, h *history, set ...func(*config.Producer)) *Pipeline {
	k.t.Helper()
	a := newAttempts()
	a.watch(k)
	h.attempts = a
	cfg := testConfig(set...)
	p, err := newPipeline(cfg, recordedNetwork{networkOf(cfg, c), a}, a.complete(h), nil)
	if err != nil {
		k.t.Fatal(err)
	}
	return p
}

// around is how many lines of its partition are told before and behind those of
// a record.
const around = 20

// tell returns what is known of records: the first few of each partition.
func (a *attempts) tell(bad map[int32][]uint64) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	// Answers are noted by another goroutine than what goes out.
	slices.SortStableFunc(a.lines, func(x, y attempt) int { return cmp.Compare(x.at, y.at) })
	var out strings.Builder
	for _, partition := range slices.Sorted(maps.Keys(bad)) {
		refs := bad[partition]
		refs = refs[:min(len(refs), 3)]
		fmt.Fprintf(&out, "partition %d, around records %d:\n", partition, refs)
		var lines []*attempt
		var named []int // lines that are about the records
		for i := range a.lines {
			l := &a.lines[i]
			if l.partition != partition {
				continue
			}
			if slices.ContainsFunc(l.records(), func(ref uint64) bool { return slices.Contains(refs, ref) }) {
				named = append(named, len(lines))
			}
			lines = append(lines, l)
		}
		told := 0
		for _, n := range named {
			first, end := max(told, n-around), min(len(lines), n+around)
			if first > told {
				fmt.Fprintln(&out, "  ...")
			}
			for _, l := range lines[first:max(first, end)] {
				fmt.Fprintf(&out, "  %s\n", l)
			}
			told = max(told, end)
		}
		if len(named) == 0 {
			fmt.Fprintln(&out, "  no attempt has them")
		}
	}
	return out.String()
}

// records returns the refs of the batch.
func (l *attempt) records() []uint64 {
	if l.refs == nil && l.raw != nil {
		if b, err := readModelBatch("", l.partition, l.raw); err == nil {
			l.refs = b.refs
		}
	}
	return l.refs
}

func (l *attempt) String() string {
	text := fmt.Sprintf("%9.3fms %s", float64(l.at.Microseconds())/1000, l.what)
	var h kmsg.RecordBatch
	if l.raw != nil && h.ReadFrom(l.raw) == nil {
		text += fmt.Sprintf(" pid=%d epoch=%d seq=%d", h.ProducerID, h.ProducerEpoch, h.FirstSequence)
	}
	return text + fmt.Sprintf(" refs=%d", l.records())
}

// TestAttempts: the log names what was done to a record, and nothing of other
// partitions.
func TestAttempts(t *testing.T) { onTransports(t, testAttempts) }

func testAttempts(t *testing.T, transport func(*config.Producer)) {
	k := startKafka(t, 1, 2)
	h := newHistory()
	// Both records of a partition go in one batch, however busy the machine is.
	p := k.recorded(k.cluster, h, transport, func(c *config.Producer) { c.Linger = config.Duration(time.Minute) })
	for ref := range uint64(4) {
		if err := h.send(p, ref, int32(ref%2), 8); err != nil {
			t.Fatal(err)
		}
	}
	stop := p.BeginFlush()
	h.wait()
	stop()
	end(t, p)
	story := h.attempts.tell(map[int32][]uint64{1: {3}, 7: {9}})
	for _, want := range []string{"partition 1, around records [3]", "#1 out pid=", " a broker works off pid=", "#1 answered NONE offset=0", "epoch=0 seq=0 refs=[1 3]", "ended after 1 attempts: acknowledged at 0 refs=[1 3]", "no attempt has them"} {
		if !strings.Contains(story, want) {
			t.Errorf("the story lacks %q:\n%s", want, story)
		}
	}
	if strings.Contains(story, "refs=[0 2]") {
		t.Errorf("the story tells of partition 0:\n%s", story)
	}
	// The checker is what asks for it.
	h.sent[3], h.ends[3] = 1, errors.New("no")
	if got := h.judge(map[int32][]uint64{0: {0, 2}, 1: {1, 3, 1}}); !slices.Equal(got.bad[1], []uint64{1, 3}) || len(got.bad) != 1 {
		t.Errorf("bad records %v, want 1 and 3 of partition 1; %q", got.bad, got.errors)
	}
}
