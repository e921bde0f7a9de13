package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asCommand has the test's binary be klamm, for tests that kill it.
const asCommand = "KLAMM_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(run(context.Background(), os.Args[1:], standardStreams()))
	}
	goleak.VerifyTestMain(m)
}

// output is a stream that a test may read while a command writes it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
	// grown is told of every write; it never blocks the writer.
	grown chan struct{}
}

func newOutput() *output { return &output{grown: make(chan struct{}, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.grown <- struct{}{}:
	default:
	}
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// patience bounds every wait of a test: long enough for a busy machine.
const patience = 60 * time.Second

// await returns what stands in the output once it contains part.
func (o *output) await(t *testing.T, part string) string {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		if s := o.String(); strings.Contains(s, part) {
			return s
		}
		select {
		case <-o.grown:
		case <-limit.C:
			t.Fatalf("%q never came; there is:\n%s", part, o.String())
		}
	}
}

// ran is a finished command.
type ran struct {
	code      int
	out, talk string
}

// klammIn runs a command line to its end with something on stdin.
func klammIn(t *testing.T, stdin io.Reader, args ...string) ran {
	t.Helper()
	out, talk := newOutput(), newOutput()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	code := run(ctx, args, testStreams(stdin, out, talk))
	return ran{code, out.String(), talk.String()}
}

func klammRun(t *testing.T, args ...string) ran {
	t.Helper()
	return klammIn(t, strings.NewReader(""), args...)
}

func testStreams(stdin io.Reader, out, talk io.Writer) streams {
	return streams{in: stdin, out: out, talk: talk, env: func(string) string { return "" }}
}

// want fails the test unless the command ended with that code.
func (r ran) want(t *testing.T, code int) ran {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.out, r.talk)
	}
	return r
}

func (r ran) wantTalk(t *testing.T, parts ...string) ran {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(r.talk, p) {
			t.Errorf("stderr lacks %q:\n%s", p, r.talk)
		}
	}
	return r
}

func (r ran) wantOut(t *testing.T, parts ...string) ran {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(r.out, p) {
			t.Errorf("stdout lacks %q:\n%s", p, r.out)
		}
	}
	return r
}

// json decodes stdout's last line.
func (r ran) json(t *testing.T) map[string]any {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	var v map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &v); err != nil {
		t.Fatalf("%v in %q\nstderr: %s", err, r.out, r.talk)
	}
	return v
}

// running is a command that runs until stop.
type running struct {
	out, talk *output
	cancel    context.CancelCauseFunc
	code      chan int
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	r := &running{out: newOutput(), talk: newOutput(), cancel: cancel, code: make(chan int, 1)}
	go func() { r.code <- run(ctx, args, testStreams(strings.NewReader(""), r.out, r.talk)) }()
	t.Cleanup(func() { cancel(errInterrupted) })
	return r
}

// stop is the first Ctrl-C; it returns the exit code.
func (r *running) stop(t *testing.T) int {
	t.Helper()
	r.cancel(errInterrupted)
	return r.wait(t)
}

func (r *running) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-r.code:
		r.code <- code
		return code
	case <-time.After(patience):
		t.Fatalf("it does not end; stdout: %s\nstderr: %s", r.out, r.talk)
		return 0
	}
}

// startBroker runs `klamm broker` on a free port and returns its address.
func startBroker(t *testing.T, args ...string) string {
	t.Helper()
	b := start(t, append([]string{"broker", "--listen", "127.0.0.1:0"}, args...)...)
	t.Cleanup(func() {
		if code := b.stop(t); code != exitOK {
			t.Errorf("broker ended with %d: %s", code, b.talk)
		}
	})
	return strings.TrimSpace(b.out.await(t, "\n"))
}
