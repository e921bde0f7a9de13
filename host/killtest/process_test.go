//go:build unix

package killtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a child in a role.
type process struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	began time.Time
	ended chan struct{} // closed when it has
	err   error         // how, after that
	log   *tail
	dead  bool // killed

	mu    sync.Mutex
	lines []string
	when  []time.Time
	news  chan struct{} // holds one
}

func start(t *testing.T, name string, r role) *process {
	t.Helper()
	text, err := json.Marshal(r)
	must(t, err)
	p := &process{t: t, name: name, cmd: exec.Command(os.Args[0]), ended: make(chan struct{}), log: &tail{}, news: make(chan struct{}, 1)}
	p.cmd.Env = append(os.Environ(), roleEnv+"="+string(text))
	p.cmd.Stderr = p.log
	p.stdin, err = p.cmd.StdinPipe()
	must(t, err)
	out, err := p.cmd.StdoutPipe()
	must(t, err)
	p.began = time.Now()
	must(t, p.cmd.Start())
	go p.follow(out)
	return p
}

// follow reads what the child says, until it ends.
func (p *process) follow(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		p.mu.Lock()
		p.lines, p.when = append(p.lines, lines.Text()), append(p.when, time.Now())
		p.mu.Unlock()
		select {
		case p.news <- struct{}{}:
		default:
		}
	}
	p.err = p.cmd.Wait()
	close(p.ended)
}

// said waits until the child has said a line that begins so, and returns the line
// and after how long it came.
func (p *process) said(prefix string, limit time.Duration) (string, time.Duration) {
	p.t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		p.mu.Lock()
		for i, line := range p.lines {
			if strings.HasPrefix(line, prefix) {
				p.mu.Unlock()
				return line, p.when[i].Sub(p.began)
			}
		}
		p.mu.Unlock()
		select {
		case <-p.news:
		case <-p.ended:
			p.t.Fatalf("%s ended (%v) before it said %q:\n%s", p.name, p.err, prefix, p.log)
		case <-timer.C:
			p.signal(syscall.SIGQUIT) // its goroutines are in the log
			p.wait(limit)
			p.t.Fatalf("%s has not said %q for %v:\n%s", p.name, prefix, limit, p.log)
		}
	}
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends it at once.
func (p *process) kill() {
	p.dead = true
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// endedByItself reports whether it has ended and nobody killed it.
func (p *process) endedByItself() bool {
	select {
	case <-p.ended:
		return !p.dead
	default:
		return false
	}
}

// wait waits for its end and returns its exit code.
func (p *process) wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		p.signal(syscall.SIGQUIT) // its goroutines are in the log
		<-p.ended
		p.t.Fatalf("%s does not end:\n%s", p.name, p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

// tail keeps the end of what a child logs.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailMax = 128 << 10

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, b...)
	if over := len(l.b) - tailMax; over > 0 {
		l.b = bytes.Clone(l.b[over:])
	}
	return len(b), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
