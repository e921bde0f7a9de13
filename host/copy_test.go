package host_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
)

// copyHost is a host whose pipeline p drops each tenth record of what it copies
// and fails another tenth.
func copyHost(t *testing.T, b *testBroker, id string) *host.Host {
	return copyHostThat(t, b, id, func() {})
}

// copyHostThat is copyHost that calls judging for each record.
func copyHostThat(t *testing.T, b *testBroker, id string, judging func()) *host.Host {
	cfg := exactlyOnce(id)
	p := cfg.Pipeline["p"]
	p.DeadLetterTopic = "dead"
	cfg.Pipeline["p"] = p
	cfg.Consumer.MaxPollRecords = 50
	return newHost(t, b, cfg, host.WithInterceptor("j", judge{send: func(it *interceptor.Item) {
		judging()
		switch i, _ := strconv.Atoi(string(it.Record.Key)); i % 10 {
		case 3:
			it.Drop("every tenth")
		case 7:
			it.Fail(errors.New("poison"))
		}
	}}))
}

// wantCopied judges a copy of the first n records of raw by what is in the topics.
func wantCopied(t *testing.T, b *testBroker, r *host.CopyReport, n int) {
	t.Helper()
	var out, dead []string
	for i, v := range numbered(n) {
		switch i % 10 {
		case 3:
		case 7:
			dead = append(dead, v)
		default:
			out = append(out, v)
		}
	}
	there := map[klamm.TopicPartition]int64{}
	for topic, want := range map[string][]string{"clean": out, "dead": dead} {
		var values []string
		for _, rec := range committedRecords(t, b, topic) {
			values = append(values, string(rec.Value))
			there[klamm.TopicPartition{Topic: topic, Partition: rec.Partition}]++
		}
		onceOf(t, topic, values, want)
	}
	want := host.CopyCounts{In: int64(n), Out: int64(len(out)), Dropped: int64(n - len(out) - len(dead)), DeadLettered: int64(len(dead))}
	if r.CopyCounts != want || !r.Ended {
		t.Errorf("got %+v, ended %v, want %+v", r.CopyCounts, r.Ended, want)
	}
	for _, p := range r.Partitions {
		if p.In != p.End-p.Start || p.In != p.Out+p.Dropped+p.DeadLettered || p.Position < p.End {
			t.Errorf("partition %+v", p)
		}
	}
	for _, o := range r.Outputs {
		if o.Topic != "raw" && there[klamm.TopicPartition{Topic: o.Topic, Partition: o.Partition}] != o.Records {
			t.Errorf("output %+v: there are %d", o, there[klamm.TopicPartition{Topic: o.Topic, Partition: o.Partition}])
		}
	}
}

// TestCopyEnds copies an input that grows all the while to where it ended at the
// start.
func TestCopyEnds(t *testing.T) {
	b := startBroker(t, 3, "raw", "clean", "dead")
	const n = 3000
	fill(t, b, "raw", n)
	h := copyHost(t, b, "h")
	plan, err := h.PlanCopy(within(t), "p", host.CopyOptions{})
	if err != nil || plan.In != 0 || plan.Resumed || len(plan.Partitions) != 3 {
		t.Fatalf("plan %+v, error %v", plan, err)
	}
	more := make(chan struct{})
	go func() {
		defer close(more)
		for i := range 20 {
			fillFrom(t, b, "raw", n+i*50, 50)
		}
	}()
	var last host.CopyProgress
	r, err := h.Copy(within(t), "p", host.CopyOptions{ProgressEvery: 1_000_000, Progress: func(p host.CopyProgress) {
		if p.Done < last.Done || p.Done > p.Total {
			t.Errorf("progress %+v after %+v", p, last)
		}
		last = p
	}})
	<-more
	must(t, err)
	total := 0
	for _, p := range r.Partitions {
		total += int(p.End)
	}
	if total < n || r.In != int64(total) {
		t.Fatalf("%d records were copied, of %d that there were at the start", r.In, total)
	}
	if total == n {
		wantCopied(t, b, r, n)
	}
	// It was begun, and is at its end.
	if _, err := h.Copy(within(t), "p", host.CopyOptions{}); !errors.Is(err, host.ErrCopyBegun) {
		t.Errorf("a second copy: %v", err)
	}
	again, err := h.Copy(within(t), "p", host.CopyOptions{Resume: true})
	if err != nil || again.CopyCounts != r.CopyCounts || !again.Resumed {
		t.Errorf("resumed at the end: %+v, error %v", again, err)
	}
}

// TestCopyResumes ends hosts in the middle, again and again, while transactions are
// refused. The figures are of all runs together, and each record is there once.
func TestCopyResumes(t *testing.T) {
	b := startBroker(t, 3, "raw", "clean", "dead")
	const n = 8000
	fill(t, b, "raw", n)
	faults := newRefusals(t, b, 7)
	faults.refuse(kmsg.EndTxn, kerr.TransactionAbortable, 9)
	faults.refuse(kmsg.TxnOffsetCommit, kerr.IllegalGeneration, 11)
	const interruptions = 6
	var r *host.CopyReport
	progressed := 0
	for runs := 0; r == nil || !r.Ended; runs++ {
		ctx, cancel := context.WithCancel(within(t))
		judged, before := 0, r
		h := copyHostThat(t, b, "h", func() {
			if judged++; judged == 300 && runs < interruptions {
				cancel()
			}
		})
		var err error
		r, err = h.Copy(ctx, "p", host.CopyOptions{Resume: true})
		cancel()
		if err != nil {
			t.Fatalf("run %d: %v", runs, err)
		}
		must(t, h.Close(within(t)))
		t.Logf("run %d: %d judged, %+v; %v", runs, judged, r.CopyCounts, faults)
		if runs < interruptions && r.Ended {
			t.Errorf("run %d was to be interrupted, and came to the end", runs)
		}
		if before != nil && r.In > before.In {
			progressed++
		}
	}
	if progressed < 2 {
		t.Errorf("%d of the runs went on from where another one was", progressed)
	}
	wantCopied(t, b, r, n)
}

func TestCopyMistakes(t *testing.T) {
	b := startBroker(t, 2, "raw", "clean", "dead")
	fill(t, b, "raw", 10)
	h := copyHost(t, b, "h")
	if _, err := h.Copy(within(t), "q", host.CopyOptions{}); err == nil {
		t.Error("an unknown pipeline is copied")
	}
	other := newHost(t, b, host.Config{Consumer: host.ConsumerConfig{GroupID: "p"}})
	c := consumerOf(t, other, "raw")
	count := 0
	runUntil(t, c, func(ctx context.Context, rec *klamm.Record) error {
		if count++; count == 10 {
			return errors.Join(c.Commit(ctx), errHandled)
		}
		return nil
	})
	if _, err := h.Copy(within(t), "p", host.CopyOptions{Resume: true}); err == nil {
		t.Error("another group's offsets are taken for a copy's")
	}
}

func TestCopyKeepsPartitions(t *testing.T) {
	b := startBroker(t, 4, "raw", "clean", "dead")
	// Of one key, which a partitioner would put into one of them.
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(t, err)
	defer cl.Close()
	for i := range 400 {
		cl.Produce(within(t), &kgo.Record{Topic: "raw", Partition: int32(i % 4), Key: []byte("key"), Value: value(i)}, nil)
	}
	must(t, cl.Flush(within(t)))
	h := newHost(t, b, host.Config{Host: exactlyOnce("h").Host, Pipeline: map[string]host.PipelineConfig{"p": {From: []string{"raw"}, To: "clean", Guarantee: "exactly_once"}}})
	r, err := h.Copy(within(t), "p", host.CopyOptions{KeepPartitions: true})
	must(t, err)
	kept := 0
	for _, p := range r.Partitions {
		for _, o := range r.Outputs {
			if o.Topic == "clean" && o.Partition == p.Partition && o.Records == 100 && p.In == 100 {
				kept++
			}
		}
	}
	if kept != 4 {
		t.Errorf("of 4 partitions %d have their 100 records, from %+v to %+v", kept, r.Partitions, r.Outputs)
	}
}

// What on_consume drops behind a record that is held counts when the record is
// passed: transactions that are lost in between do not count it twice.
func TestCopyCountsDropsBehindWhatIsHeld(t *testing.T) {
	b := startBroker(t, 3, "raw", "clean", "dead")
	const n = 3000
	fill(t, b, "raw", n)
	left := map[string]int{}
	for i := range n {
		switch key := strconv.Itoa(i); {
		case i%10 == 7:
			left[key] = -1
		case i%50 == 1:
			left[key] = 1
		}
	}
	f := newFlaky(left)
	cfg := retrying(true, 2, 5*time.Millisecond)
	cfg.Consumer.MaxPollRecords = 50
	cfg.Chain = map[string]host.ChainConfig{"c": {Topics: []string{"clean"}, OnSend: []string{"j"}, OnConsume: []string{"d"}}}
	h := newHost(t, b, cfg, host.WithInterceptor("j", judge{send: f.judge}), host.WithInterceptor("d", judge{consume: func(it *interceptor.Item) {
		if i, _ := strconv.Atoi(string(it.Record.Key)); i%10 == 3 {
			it.Drop("every tenth")
		}
	}}))
	faults := newRefusals(t, b, 1)
	faults.refuse(kmsg.EndTxn, kerr.TransactionAbortable, 5)
	r, err := h.Copy(within(t), "p", host.CopyOptions{})
	must(t, err)
	wantCopied(t, b, r, n)
	if faults.kinds() == 0 {
		t.Error("no transaction was lost")
	}
}
