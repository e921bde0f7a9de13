package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/twmb/franz-go/pkg/kgo"
)

// kafka is another client than ours, to look at what commands did.
func kafka(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// values reads n records of a topic and returns how often each value came.
func values(t *testing.T, addr, topic string, n int) map[string]int {
	t.Helper()
	c := kafka(t, addr, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got := map[string]int{}
	for read := 0; read < n; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			got[string(r.Value)]++
			read++
		}
	}
	return got
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"n\":%d}\n", i)
	}
	return b.String()
}

// TestProduceWhole: a thousand lines are read back whole by another client.
func TestProduceWhole(t *testing.T) {
	addr := startBroker(t, "--topic", "orders")
	v := klammIn(t, strings.NewReader(lines(1000)), "produce", "orders", "-b", addr, "--output", "json").want(t, exitOK).json(t)
	if v["schema"] != "klamm.produce/1" || v["in"] != 1000.0 || v["out"] != 1000.0 || v["failed"] != 0.0 {
		t.Errorf("summary %v", v)
	}
	got := values(t, addr, "orders", 1000)
	if len(got) != 1000 || got[`{"n":999}`] != 1 {
		t.Errorf("read back %d different values", len(got))
	}
}

const dedupConfig = `
version = 1
[plugin.dedup]
module = "builtin:dedup"
state = "ids"
timeout = "2s"
[plugin.dedup.config]
id = "json:n"
[state.ids]
[chain.orders]
topics = ["orders"]
on_send = ["dedup"]
on_consume = []
`

func TestProduceThroughChain(t *testing.T) {
	addr := startBroker(t, "--topic", "orders")
	cfg := writeFile(t, "config.toml", dedupConfig)
	r := klammIn(t, strings.NewReader(lines(100)+lines(100)), "produce", "orders", "-b", addr, "-c", cfg, "--output", "json").want(t, exitOK).
		wantTalk(t, "dropped 100 by dedup duplicate")
	v := r.json(t)
	if v["in"] != 200.0 || v["out"] != 100.0 || v["dropped"] != 100.0 {
		t.Errorf("summary %v", v)
	}
	values(t, addr, "orders", 100)
}

func TestProduceKeysAndHeaders(t *testing.T) {
	addr := startBroker(t, "--topic", "orders", "--partitions", "3")
	klammIn(t, strings.NewReader("a:1\nb\n\nc:"), "produce", "orders", "-b", addr, "-K", ":", "-H", "h=x", "-H", "h=y", "-p", "2").want(t, exitOK)
	r := klammRun(t, "consume", "orders", "-b", addr, "--offset", "start", "-e", "-f", `%p %k{json} %v{json} %h{%k=%v,}\n`).want(t, exitOK)
	want := "2 \"a\" \"1\" h=x,h=y,\n2 null \"b\" h=x,h=y,\n2 null \"\" h=x,h=y,\n2 \"c\" \"\" h=x,h=y,\n"
	if r.out != want {
		t.Errorf("got\n%swant\n%s", r.out, want)
	}
}

func TestProduceErrors(t *testing.T) {
	addr := startBroker(t, "--topic", "orders")
	tests := []struct {
		name  string
		stdin string
		args  []string
		code  int
		talk  []string
	}{
		{"malformed JSON", "{\"value\":\"a\"}\n{\"value\":\"b\"\n{\"value\":\"c\"}\n", []string{"orders", "-i", "json"}, exitFailed,
			[]string{"stdin:2:", "line 1 was sent", "tail -n +2", "in 1  out 1"}},
		{"unknown member", "{\"vlaue\":\"a\"}\n", []string{"orders", "-i", "json"}, exitFailed, []string{"stdin:1:", "vlaue", "nothing was sent yet"}},
		{"unknown topic", "a\nb\n", []string{"nowhere"}, exitFailed, []string{"stdin:1:", `topic "nowhere"`, "klamm topic create"}},
		{"invalid topic", "a\n", []string{"a b"}, exitFailed, []string{"stdin:1:", "invalid topic", "249"}},
		{"unknown partition", "a\nb\n", []string{"orders", "-p", "99"}, exitFailed, []string{"stdin:1: invalid partition", "stdin:2: invalid partition", "2 of 2 records failed"}},
		{"too large", strings.Repeat("a", 2<<20) + "\nb\n", []string{"orders"}, exitFailed, []string{"stdin:1:", "record too large", "max_request_size", "in 2  out 1"}},
		{"partition below -1", "", []string{"orders", "-p", "-5"}, exitUsage, []string{"--partition -5"}},
		{"separator of JSON", "", []string{"orders", "-i", "json", "-K", ":"}, exitUsage, []string{"--key-separator"}},
		{"nulls of JSON", "", []string{"orders", "-i", "json", "--empty-is-null"}, exitUsage, []string{"--empty-is-null"}},
		{"partition of a line", "", []string{"orders", "--keep-partition"}, exitUsage, []string{"--keep-partition needs -i json"}},
		{"two partitions", "", []string{"orders", "-i", "json", "--keep-partition", "-p", "1"}, exitUsage, []string{"--partition 1 contradict"}},
		{"unknown input", "", []string{"orders", "-i", "xml"}, exitUsage, []string{`--input "xml"`}},
		{"bad header", "", []string{"orders", "-H", "x"}, exitUsage, []string{`--header "x": it is name=value`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"produce", "-b", addr}, tt.args...)
			klammIn(t, strings.NewReader(tt.stdin), args...).want(t, tt.code).wantTalk(t, tt.talk...)
		})
	}
}

func TestProduceUnreachable(t *testing.T) {
	klammIn(t, strings.NewReader("a\n"), "produce", "orders", "-b", "127.0.0.1:1").want(t, exitUnreachable).
		wantTalk(t, "127.0.0.1:1", "klamm broker")
}

// TestInterruptedWhileConnecting: Ctrl-C ends the wait for a broker that takes
// connections and never answers.
func TestInterruptedWhileConnecting(t *testing.T) {
	for _, args := range [][]string{{"produce", "orders"}, {"consume", "orders"}, {"run"}, {"topic", "list"}} {
		t.Run(args[0], func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				if c, err := l.Accept(); err == nil {
					defer c.Close()
					cancel(errInterrupted)
					<-t.Context().Done()
				}
			}()
			config := filepath.Join(t.TempDir(), "c.toml")
			text := fmt.Sprintf("[cluster]\nbootstrap_servers = [%q]\ndial_timeout = \"1m\"\n[admin]\nlisten = \"\"\n", l.Addr())
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			talk := newOutput()
			code := run(ctx, append(args, "-c", config), testStreams(strings.NewReader("a\n"), newOutput(), talk))
			if code != exitInterrupted || !strings.Contains(talk.String(), "klamm: interrupted") {
				t.Errorf("exit code %d: %s", code, talk)
			}
		})
	}
}

// TestStdinThatCannotBeRead: what fails is the reading, and no line.
func TestStdinThatCannotBeRead(t *testing.T) {
	addr := startBroker(t, "--topic", "orders")
	stdin := io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(errors.New("is a directory")))
	r := klammIn(t, stdin, "produce", "orders", "-b", addr).want(t, exitFailed).wantTalk(t, "stdin: is a directory", "in 1  out 1")
	if strings.Contains(r.talk, "tail") {
		t.Errorf("there is no line to mend: %s", r.talk)
	}
}

func TestProduceCreates(t *testing.T) {
	addr := startBroker(t)
	for range 2 { // the second time it exists
		klammIn(t, strings.NewReader("a\n"), "produce", "fresh", "-b", addr, "--create").want(t, exitOK)
	}
	if got := values(t, addr, "fresh", 2); got["a"] != 2 {
		t.Errorf("got %v", got)
	}
}

// TestProduceInterrupted: Ctrl-C does not wait for stdin, and what was read
// before is delivered.
func TestProduceInterrupted(t *testing.T) {
	addr := startBroker(t, "--topic", "orders")
	stdin, typing := io.Pipe()
	defer typing.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	out, talk := newOutput(), newOutput()
	code := make(chan int)
	go func() { code <- run(ctx, []string{"produce", "orders", "-b", addr}, testStreams(stdin, out, talk)) }()
	if _, err := io.WriteString(typing, "typed\n"); err != nil {
		t.Fatal(err)
	}
	values(t, addr, "orders", 1)
	cancel(errInterrupted)
	if got := <-code; got != exitInterrupted {
		t.Errorf("exit code %d: %s", got, talk)
	}
	if !strings.Contains(talk.String(), "in 1  out 1") {
		t.Errorf("stderr: %s", talk)
	}
}

// TestRoundTrip: what consume prints, produce takes back: null and empty, binary,
// repeated headers, odd text.
func TestRoundTrip(t *testing.T) {
	addr := startBroker(t, "--topic", "one", "--topic", "two", "--partitions", "1")
	c := kafka(t, addr)
	odd := []*kgo.Record{
		{Key: nil, Value: nil},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("k"), Value: []byte("\xff\x00\n\"<&>\u2028\\ud800")},
		{Value: []byte(`{"a":1}`), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "h"}, {Key: "", Value: []byte{}}, {Key: "h", Value: []byte{0xfe}}}},
	}
	for _, r := range odd {
		r.Topic = "one"
	}
	if err := c.ProduceSync(t.Context(), odd...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	read := func(topic string) string {
		return klammRun(t, "consume", topic, "-b", addr, "--offset", "start", "-e", "-o", "json").want(t, exitOK).out
	}
	first := read("one")
	klammIn(t, strings.NewReader(first), "produce", "two", "-i", "json", "-b", addr).want(t, exitOK)
	if second := strings.ReplaceAll(read("two"), `"topic":"two"`, `"topic":"one"`); second != first || strings.Count(first, "\n") != len(odd) {
		t.Errorf("first\n%ssecond\n%s", first, second)
	}
}

func TestConsumeOffsets(t *testing.T) {
	addr := startBroker(t, "--topic", "orders", "--partitions", "1")
	klammIn(t, strings.NewReader("0\n1\n2\n3\n4\n"), "produce", "orders", "-b", addr).want(t, exitOK)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"start", []string{"--offset", "start", "-e"}, "0\n1\n2\n3\n4\n"},
		{"number", []string{"--offset", "start", "-n", "2"}, "0\n1\n"},
		{"offset", []string{"--offset", "3", "-e"}, "3\n4\n"},
		{"last", []string{"--offset", "-2", "-e"}, "3\n4\n"},
		{"last, more than there are", []string{"--offset", "-99", "-e"}, "0\n1\n2\n3\n4\n"},
		{"end", []string{"--offset", "end", "-e"}, ""},
		{"partition", []string{"--offset", "start", "-e", "-p", "0", "-n", "1"}, "0\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := klammRun(t, append([]string{"consume", "orders", "-b", addr}, tt.args...)...).want(t, exitOK)
			if r.out != tt.want {
				t.Errorf("got %q, want %q", r.out, tt.want)
			}
		})
	}
}

// TestConsumeGroup: a group goes on where it has committed.
func TestConsumeGroup(t *testing.T) {
	addr := startBroker(t, "--topic", "orders", "--partitions", "1")
	klammIn(t, strings.NewReader("0\n1\n2\n3\n"), "produce", "orders", "-b", addr).want(t, exitOK)
	for _, want := range []string{"0\n1\n", "2\n3\n"} {
		r := klammRun(t, "consume", "orders", "-b", addr, "--group", "g", "-n", "2").want(t, exitOK)
		if r.out != want {
			t.Errorf("got %q, want %q", r.out, want)
		}
	}
}

// TestConsumeFollows: without an end it waits for more; Ctrl-C is its normal end.
func TestConsumeFollows(t *testing.T) {
	addr := startBroker(t, "--topic", "orders")
	c := start(t, "consume", "orders", "-b", addr, "--offset", "start")
	klammIn(t, strings.NewReader("hello\n"), "produce", "orders", "-b", addr).want(t, exitOK)
	c.out.await(t, "hello\n")
	if code := c.stop(t); code != exitOK {
		t.Errorf("exit code %d: %s", code, c.talk)
	}
}

func TestConsumeInterruptedEarly(t *testing.T) {
	addr := startBroker(t, "--topic", "orders")
	c := start(t, "consume", "orders", "-b", addr, "--offset", "start", "-n", "2")
	klammIn(t, strings.NewReader("hello\n"), "produce", "orders", "-b", addr).want(t, exitOK)
	c.out.await(t, "hello\n")
	if code := c.stop(t); code != exitInterrupted {
		t.Errorf("one of two records came, exit code %d: %s", code, c.talk)
	}
}

func TestConsumeThroughChain(t *testing.T) {
	addr := startBroker(t, "--topic", "orders", "--partitions", "1")
	cfg := writeFile(t, "config.toml", strings.NewReplacer(`on_send = ["dedup"]`, `on_send = []`, `on_consume = []`, `on_consume = ["dedup"]`).Replace(dedupConfig))
	klammIn(t, strings.NewReader(lines(3)+lines(3)), "produce", "orders", "-b", addr).want(t, exitOK)
	for _, mode := range [][]string{{"-e"}, {"--group", "g", "-n", "3"}} {
		r := klammRun(t, append([]string{"consume", "orders", "-b", addr, "-c", cfg, "--offset", "start"}, mode...)...).want(t, exitOK)
		if r.out != lines(3) {
			t.Errorf("%v: got %q", mode, r.out)
		}
	}
}

func TestConsumeErrors(t *testing.T) {
	addr := startBroker(t, "--topic", "orders")
	tests := []struct {
		name string
		args []string
		code int
		talk []string
	}{
		{"unknown topic", []string{"nowhere", "--offset", "start"}, exitFailed, []string{"nowhere", "klamm topic create"}},
		{"bad offset", []string{"orders", "--offset", "yesterday"}, exitUsage, []string{`--offset "yesterday"`}},
		{"bad format", []string{"orders", "-f", "%q"}, exitUsage, []string{`format "%q"`}},
		{"unknown partition", []string{"orders", "-p", "9"}, exitFailed, []string{"partition 9"}},
		{"number below 0", []string{"orders", "-n", "-1"}, exitUsage, []string{"--number -1"}},
		{"two forms", []string{"orders", "-o", "json", "-f", "%v"}, exitUsage, []string{"--format and --output json"}},
		{"group and partition", []string{"orders", "-g", "g", "-p", "1"}, exitUsage, []string{"--group"}},
		{"group and number", []string{"orders", "-g", "g", "--offset", "5"}, exitUsage, []string{"--group"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			klammRun(t, append([]string{"consume", "-b", addr}, tt.args...)...).want(t, tt.code).wantTalk(t, tt.talk...)
		})
	}
}
