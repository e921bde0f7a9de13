//go:build unix

package interceptor

import (
	"context"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/kafkatest"
)

// Chains and records that Kafka's own ProducerInterceptors were tried with, in
// blocks. A block's line in java-chains.txt is the digest of what the
// interceptors saw there; TestJavaChains tries again. The failure policy is
// Kafka's, pass.
const (
	javaBlocks = 40
	javaBlock  = 100
)

//go:embed testdata/java-chains.txt
var javaDigests string

// javaCase is a line of testdata/Chain.java's input.
func javaCase(r *rand.Rand) string {
	pick := func(none float64, from string) string {
		if r.Float64() < none {
			return "-"
		}
		return string(from[r.IntN(len(from))])
	}
	var sends, acks []string
	for range 1 + r.IntN(5) {
		ops := ""
		for range r.IntN(4) {
			ops += pick(0, "vkhtp")
		}
		if r.IntN(4) == 0 {
			ops += "x"
		}
		if ops == "" {
			ops = "-"
		}
		sends, acks = append(sends, ops), append(acks, pick(0.75, "x"))
	}
	return strings.Join([]string{strings.Join(sends, "/"), strings.Join(acks, "/"), pick(0.6, "0123"), pick(0.4, "0123")}, " ")
}

func javaCases() []string {
	var cases []string
	for block := range javaBlocks {
		r := rand.New(rand.NewPCG(3, uint64(block)))
		for range javaBlock {
			cases = append(cases, javaCase(r))
		}
	}
	return cases
}

// scripted is Link of testdata/Chain.java.
type scripted struct {
	number    int
	send, ack string
	trace     *strings.Builder
}

func (s *scripted) OnSend(_ context.Context, items []*Item) error {
	for _, it := range items {
		r := &it.Record
		fmt.Fprintf(s.trace, "send %d %s;", s.number, javaText(r))
		for _, op := range s.send {
			switch op {
			case 'v':
				r.Value = fmt.Appendf(nil, "%s%d", r.Value, s.number)
			case 'k':
				r.Key = fmt.Appendf(nil, "%s%d", r.Key, s.number)
			case 't':
				r.Topic += strconv.Itoa(s.number)
			case 'p':
				r.Target = klamm.ToPartition(int32(s.number))
			case 'h':
				r.Headers = append(r.Headers[:len(r.Headers):len(r.Headers)], klamm.Header{Key: fmt.Sprint("h", s.number), Value: r.Value})
			case 'x':
				return errBoom
			}
		}
	}
	return nil
}

func (s *scripted) OnAcknowledgement(_ context.Context, acks []*Ack) error {
	for _, a := range acks {
		end, at := "ok", int64(-1)
		if a.Err != nil {
			end = "failed"
		}
		if !a.Record.Timestamp.IsZero() {
			at = a.Record.Timestamp.UnixMilli()
		}
		fmt.Fprintf(s.trace, "ack %d %s %d %d %d %s%s;", s.number, a.Record.Topic, a.Partition, a.Offset, at, end, headersText(a.Record.Headers))
	}
	if s.ack == "x" {
		return errBoom
	}
	return nil
}

func javaText(r *klamm.Record) string {
	partition := "-"
	if p, ok := r.Target.Partition(); ok {
		partition = strconv.Itoa(int(p))
	}
	return fmt.Sprintf("%s %s %s %s%s", r.Topic, partition, r.Key, r.Value, headersText(r.Headers))
}

func headersText(headers []klamm.Header) string {
	var b strings.Builder
	for _, h := range headers {
		fmt.Fprintf(&b, " %s=%s", h.Key, h.Value)
	}
	return b.String()
}

// try runs a case through a chain of ours.
func try(t *testing.T, line string) string {
	t.Helper()
	var trace strings.Builder
	fields := strings.Split(line, " ")
	acks := strings.Split(fields[1], "/")
	var links []Link
	for i, ops := range strings.Split(fields[0], "/") {
		links = append(links, Link{Name: fmt.Sprint("p", i), OnError: Pass, Native: &scripted{i, ops, acks[i], &trace}})
	}
	l := chainOf(t, ChainConfig{OnSend: links, OnAcknowledgement: links})
	b := &Batch{NowMS: nowMS, Items: []Item{{Ref: 1, Record: klamm.Record{
		Topic: "orders", Key: []byte("k"), Value: []byte("v"), Timestamp: time.UnixMilli(1000),
	}}}}
	it := &b.Items[0]
	if p, err := strconv.Atoi(fields[2]); err == nil {
		it.Record.Target = klamm.ToPartition(int32(p))
	}
	l.OnSend(t.Context(), b)
	fmt.Fprintf(&trace, "sent %s;", javaText(&it.Record))
	a := Ack{
		Record: klamm.Record{Topic: it.Record.Topic, Headers: it.Record.Headers}, Ref: 1, Offered: it.Offered,
		Partition: klamm.NoPartition, Offset: klamm.NoOffset,
	}
	if p, err := strconv.Atoi(fields[3]); err == nil {
		a.Partition, a.Offset, a.Record.Timestamp = int32(p), 7, it.Record.Timestamp
	} else {
		a.Err = errBoom
		if p, ok := it.Record.Target.Partition(); ok {
			a.Partition = p
		}
	}
	l.OnAcknowledgement(t.Context(), []Ack{a})
	return trace.String()
}

// TestC001_C006_AsJavaDid compares 4,000 chains with what Kafka's did: who sees
// which version of the record, what a failing interceptor leaves behind, and that
// each is told once, in list order.
func TestC001_C006_AsJavaDid(t *testing.T) {
	kafkatest.SameDigests(t, kafkatest.Digests(tryAll(t, javaCases()), javaBlock), javaDigests)
}

func tryAll(t *testing.T, cases []string) (traces []string) {
	t.Helper()
	for _, c := range cases {
		traces = append(traces, try(t, c))
	}
	return traces
}
