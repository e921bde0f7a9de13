package produce

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden output of testdata/scripts")

// TestScripts plays the scripts of testdata/scripts: what the caller and the
// brokers do, line by line, and below ---- what the pipeline did thereupon.
//
//	config KEY=VALUE ...       first line: producer settings, brokers, pid epoch
//	send p=0 n=2 [size=N]      append n records and wait for linger, 1ms, unless
//	                           the script sets it; refs count up from 0
//	answer [b=1] [p0=CODE ...] answer the oldest request of broker b. Without a
//	                           code the broker does what Kafka does. CODE alone
//	                           refuses without writing, +CODE writes first.
//	                           told: the answer gives the offset nevertheless,
//	                           as Kafka does when it fails after the append
//	cut [b=1] [write]          end the connection, after writing all that was
//	                           read if so told
//	advance 100ms              let time pass
//	leader p=0 b=2             a new leader, known to metadata
//	anew                       the topic is deleted and made again
//	sequence p=0 next=N        the sequences of partition 0 stand at N, in the
//	                           client and in the broker
//	forget p=0                 the broker forgets its producers there
//	refuse b=1 | accept b=1    dialling broker b fails, works
//	flush | close [100ms]
//	stats FIELD ...
//
// Output: "b1 < #3 p0 pid=1 epoch=0 seq=0 n=2 refs=0-1" is a batch in the third
// request that broker 1 read; "same" says that it came before, byte for byte.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out string
			synctest.Test(t, func(t *testing.T) { out = playScript(t, string(text)) })
			if *rewrite {
				if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if out != string(text) {
				t.Errorf("%s: got\n%s\nwant\n%s", file, out, text)
			}
		})
	}
}

// script is a running script.
type script struct {
	t       *testing.T
	net     *fakeNetwork
	p       *Pipeline
	h       *history
	conf    *config.Producer
	refs    uint64
	out     bytes.Buffer // of the current block
	begun   int          // where in out the current command began
	results bytes.Buffer // of calls that returned during the current command
	read    map[int32]int
	waiting map[int32][]*scriptRequest
	current map[int32]*fakeConn
	seen    [][]byte
	closed  bool
	lingers bool // send does not wait until the batch is out
	lies    bool // the script makes the broker say what is not so

	coordinator *modelCoordinator
	faults      []controlFault
	calls       sync.WaitGroup // of transactions
}

type scriptRequest struct {
	*fakeRequest
	conn *fakeConn
}

func playScript(t *testing.T, text string) string {
	s := &script{
		t: t, h: newHistory(), conf: testConfig(func(c *config.Producer) { c.Linger = config.Duration(time.Millisecond) }),
		read: map[int32]int{}, waiting: map[int32][]*scriptRequest{}, current: map[int32]*fakeConn{},
	}
	s.net = newFakeNetwork(t, 3)
	s.net.serve = s.serve
	var result strings.Builder
	for _, block := range strings.Split(strings.TrimRight(text, "\n"), "\n\n") {
		commands, _, _ := strings.Cut(block, "\n----")
		for _, line := range strings.Split(commands, "\n") {
			if line != "" && !strings.HasPrefix(line, "#") {
				s.do(line)
			}
		}
		synctest.Wait()
		if result.Len() > 0 {
			result.WriteString("\n")
		}
		s.h.mu.Lock()
		fmt.Fprintf(&result, "%s\n----\n%s", commands, s.output())
		s.out.Reset()
		s.begun = 0
		s.h.mu.Unlock()
	}
	s.finish()
	return result.String()
}

// output is what happened in this block. With acks=0 records end while their
// request is on its way, so the order means nothing.
func (s *script) output() string {
	if s.conf.Acks != 0 {
		return s.out.String()
	}
	lines := strings.SplitAfter(s.out.String(), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// finish closes the pipeline and lets the checker look at the log.
func (s *script) finish() {
	if s.p == nil {
		return
	}
	if !s.closed {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.p.Close(ctx)
	}
	if free := s.p.mem.free.Load(); free != s.p.mem.total {
		s.t.Errorf("%d bytes of %d are free after Close", free, s.p.mem.total)
	}
	s.calls.Wait()
	if !s.lies && s.coordinator == nil {
		s.h.check(s.t, s.net.refs())
	}
	s.net.stop()
}

// serve reads requests; the script answers them.
func (s *script) serve(c *fakeConn) {
	s.h.mu.Lock()
	s.current[c.broker] = c
	s.h.mu.Unlock()
	for {
		r, err := c.read()
		if err != nil {
			s.h.mu.Lock()
			s.waiting[c.broker] = slices.DeleteFunc(s.waiting[c.broker], func(r *scriptRequest) bool { return r.conn == c })
			s.h.mu.Unlock()
			return
		}
		s.h.mu.Lock()
		s.read[c.broker]++
		for _, b := range r.batches {
			fmt.Fprintf(&s.out, "b%d < #%d p%d pid=%d epoch=%d seq=%d n=%d refs=%s", c.broker, s.read[c.broker], b.partition,
				b.header.ProducerID, b.header.ProducerEpoch, b.header.FirstSequence, b.header.NumRecords, span(b.refs))
			if slices.ContainsFunc(s.seen, func(raw []byte) bool { return bytes.Equal(raw, b.raw) }) {
				s.out.WriteString(" same")
			}
			s.out.WriteString("\n")
			s.seen = append(s.seen, b.raw)
		}
		if r.acks != 0 {
			s.waiting[c.broker] = append(s.waiting[c.broker], &scriptRequest{r, c})
		}
		s.h.mu.Unlock()
		if r.acks == 0 {
			for _, b := range r.batches {
				c.apply(b)
			}
		}
	}
}

func span(refs []uint64) string {
	if len(refs) == 1 {
		return strconv.FormatUint(refs[0], 10)
	}
	return fmt.Sprintf("%d-%d", refs[0], refs[len(refs)-1])
}

func (s *script) complete(c *Completion) {
	s.h.complete(c)
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if c.Err == nil {
		fmt.Fprintf(&s.out, "done p%d %s offset=%d attempts=%d\n", c.Partition, span(c.Refs), c.BaseOffset, c.Attempts)
		return
	}
	kind := ""
	if errors.Is(c.Err, klamm.ErrOutcomeUnknown) {
		kind = "unknown: "
	}
	fmt.Fprintf(&s.out, "fail p%d %s %s%v\n", c.Partition, span(c.Refs), kind, c.Err)
	for i, err := range c.RecordErrs {
		fmt.Fprintf(&s.out, "     %d %v\n", c.Refs[i], err)
	}
}

func (s *script) pipeline() *Pipeline {
	if s.p == nil {
		var err error
		if s.p, err = newPipeline(s.conf, s.net, s.complete, nil); err != nil {
			s.t.Fatal(err)
		}
	}
	return s.p
}

func (a args) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// args are a command's KEY=VALUE pairs; words without = map to "".
type args map[string]string

func (a args) int(key string, def int) int {
	if v, ok := a[key]; ok {
		n, err := strconv.Atoi(v)
		if err != nil {
			panic(fmt.Sprintf("%s=%s: %v", key, v, err))
		}
		return n
	}
	return def
}

func (s *script) do(line string) {
	fields := strings.Fields(line)
	a := args{}
	for _, f := range fields[1:] {
		k, v, _ := strings.Cut(f, "=")
		a[k] = v
	}
	broker, part := int32(a.int("b", 1)), int32(a.int("p", 0))
	switch fields[0] {
	case "config":
		s.configure(a)
	case "send":
		for range a.int("n", 1) {
			if err := s.h.send(s.pipeline(), s.refs, part, a.int("size", 8)); err != nil {
				s.printf("send %d: %v\n", s.refs, err)
			}
			s.refs++
		}
		if !s.lingers {
			time.Sleep(s.conf.Linger.Std())
		}
	case "answer":
		s.answer(broker, a)
	case "cut":
		s.cut(broker, a)
	case "advance":
		d, err := time.ParseDuration(fields[1])
		if err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(d)
	case "leader":
		s.net.move(part, broker)
	case "anew":
		s.anew()
	case "sequence":
		s.sequence(part, int32(a.int("next", 0)))
	case "forget":
		s.net.mu.Lock()
		s.net.logs[part].producers = nil
		s.net.mu.Unlock()
	case "refuse", "accept":
		s.net.mu.Lock()
		s.net.dialErr[broker] = nil
		if fields[0] == "refuse" {
			s.net.dialErr[broker] = errors.New("connection refused")
		}
		s.net.mu.Unlock()
	case "flush":
		s.pipeline().BeginFlush()
	case "close":
		s.close(fields[1:])
	case "stats":
		s.stats(fields[1:])
	default:
		if !s.doTxn(fields[0], fields[1:], a) {
			s.t.Fatalf("unknown command %q", line)
		}
	}
	synctest.Wait()
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	byPartition(s.out.Bytes()[s.begun:])
	s.results.WriteTo(&s.out)
	s.begun = s.out.Len()
}

// completion is a line of complete's; those of single records follow indented.
var completion = regexp.MustCompile(`(?m)^(?:(?:done|fail) p(\d+) .*\n(?:     .*\n)*)`)

// byPartition sorts completions that follow each other by their partition: what
// ends in one moment on several partitions has no order among them.
func byPartition(out []byte) {
	var run [][]byte
	var partitions []string
	start, end := 0, 0
	sortRun := func() {
		order := make([]int, len(run))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(partitions[a], partitions[b]) })
		var sorted []byte
		for _, i := range order {
			sorted = append(sorted, run[i]...)
		}
		copy(out[start:end], sorted)
		run, partitions = nil, nil
	}
	for _, at := range completion.FindAllSubmatchIndex(out, -1) {
		if at[0] != end {
			sortRun()
			start = at[0]
		}
		end = at[1]
		run, partitions = append(run, out[at[0]:at[1]]), append(partitions, string(out[at[2]:at[3]]))
	}
	sortRun()
}

func (s *script) printf(format string, args ...any) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	fmt.Fprintf(&s.out, format, args...)
}

func (s *script) configure(a args) {
	c := s.conf
	defer func() {
		if _, v2 := a["v2"]; v2 {
			s.coordinator.version2 = true
		}
	}()
	for k, v := range a {
		d, _ := time.ParseDuration(v)
		n, _ := strconv.Atoi(v)
		switch k {
		case "linger":
			c.Linger, s.lingers = config.Duration(d), true
		case "delivery":
			c.DeliveryTimeout = config.Duration(d)
		case "request":
			c.RequestTimeout = config.Duration(d)
		case "retries":
			c.Retries = n
		case "in_flight":
			c.MaxInFlight = n
		case "acks":
			c.Acks = config.Acks(n)
		case "batch":
			c.BatchSize = config.Size(n)
		case "max_request":
			c.MaxRequestSize = config.Size(n)
		case "gzip":
			c.Compression = config.CompressionGzip
		case "plain":
			off := false
			c.EnableIdempotence = &off
		case "epoch":
			s.net.firstEpoch = int16(n)
		case "version":
			s.net.maxVersion = int16(n)
		case "txn":
			s.transactional(v)
		case "v2":
			s.net.maxVersion = implicitVersion
		case "timeout":
			c.TransactionTimeout = config.Duration(d)
		case "lies":
			s.lies = true
		case "producer_id":
			s.net.pidErr = &klamm.BrokerError{Code: code(v)}
		default:
			s.t.Fatalf("unknown setting %q", k)
		}
	}
}

// code returns Kafka's code of that name.
func code(name string) klamm.Code {
	for c := klamm.Code(-1); c < 200; c++ {
		if c.Name() == name {
			return c
		}
	}
	panic("unknown code " + name)
}

func (s *script) next(broker int32) *scriptRequest {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if len(s.waiting[broker]) == 0 {
		fmt.Fprintf(&s.out, "!! broker %d has no request to answer\n", broker)
		return nil
	}
	r := s.waiting[broker][0]
	s.waiting[broker] = s.waiting[broker][1:]
	return r
}

func (s *script) answer(broker int32, a args) {
	r := s.next(broker)
	if r == nil {
		return
	}
	answers := make([]fakeAnswer, len(r.batches))
	for i, b := range r.batches {
		how := a[fmt.Sprintf("p%d", b.partition)]
		name, write := strings.CutPrefix(how, "+")
		if how == "" || write {
			answers[i] = r.conn.apply(b)
		}
		if how == "" {
			continue
		}
		offset := int64(-1)
		if _, told := a["told"]; told {
			offset = answers[i].offset
		}
		answers[i] = fakeAnswer{code: code(name), offset: offset, logAppend: -1, logStart: int64(a.int("log_start", 0)), leader: int32(a.int("leader", -1)), leaderEpoch: int32(a.int("leader_epoch", -1)), message: a["message"]}
		for _, e := range strings.Split(a["records"], ",") {
			if k, v, ok := strings.Cut(e, ":"); ok {
				n, _ := strconv.Atoi(k)
				answers[i].records = append(answers[i].records, recordError{int32(n), v})
			}
		}
	}
	r.conn.Write(encodeAnswer(r.fakeRequest, answers, int32(a.int("throttle", 0))))
}

func (s *script) cut(broker int32, a args) {
	s.h.mu.Lock()
	c := s.current[broker]
	waiting := slices.Clone(s.waiting[broker])
	s.h.mu.Unlock()
	if _, write := a["write"]; write {
		for _, r := range waiting {
			for _, b := range r.batches {
				r.conn.apply(b)
			}
		}
	}
	c.Close()
}

func (s *script) anew() {
	s.net.mu.Lock()
	s.net.topicID[0]++
	for p := range s.net.logs {
		s.net.logs[p] = &modelLog{}
	}
	watchers := s.net.watchers
	s.net.mu.Unlock()
	for _, f := range watchers {
		f("t")
	}
}

func (s *script) sequence(part, next int32) {
	t, err := s.pipeline().partition("t", part)
	if err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait() // for the producer id
	id := s.p.identity.current()
	t.mu.Lock()
	t.adopt(id)
	t.next, t.acked, t.knownAt = next, next, s.p.now()
	t.mu.Unlock()
	s.net.mu.Lock()
	s.net.logs[part].producers = map[int64]*modelProducer{id.producerID: {epoch: id.epoch, next: next}}
	s.net.mu.Unlock()
}

func (s *script) close(words []string) {
	d := time.Minute
	if len(words) > 0 {
		var err error
		if d, err = time.ParseDuration(words[0]); err != nil {
			s.t.Fatal(err)
		}
	}
	s.closed = true
	p := s.pipeline()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			s.printf("close: %v\n", err)
		} else {
			s.printf("closed\n")
		}
	}()
}

func (s *script) stats(names []string) {
	st := s.pipeline().Stats()
	for _, n := range names {
		switch n {
		case "retries":
			s.printf("retries=%d\n", st.BatchesRetried)
		case "splits":
			s.printf("splits=%d\n", st.BatchesSplit)
		case "bumps":
			s.printf("bumps=%d\n", st.EpochBumps)
		case "queued":
			s.printf("queued=%d\n", st.QueuedBytes)
		case "expired":
			s.printf("expired=%d\n", st.BatchesExpired)
		case "throttled":
			s.printf("throttled=%s\n", time.Duration(st.Throttled.Sum))
		case "unknown":
			s.printf("unknown=%d\n", st.RecordsUnknown)
		default:
			s.t.Fatalf("unknown figure %q", n)
		}
	}
}
