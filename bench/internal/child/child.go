// Package child runs processes that a benchmark drives, each on a core of its own,
// by lines of JSON on stdin and stdout.
package child

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"
)

// The client has a core for itself, and so has the broker. Whoever asks them
// sleeps while they work.
const (
	BrokerCore = 0
	ClientCore = 1
)

// Process is a child that answers lines of JSON with lines of JSON.
type Process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// StartSelf starts this program with another command on one core.
func StartSelf(core int, args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return Start(core, self, args...)
}

// Start starts a program on one core.
func Start(core int, path string, args ...string) (*Process, error) {
	cmd := exec.Command(path, args...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(slices.Clone(os.Environ()), "GOMAXPROCS=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := OnCore(core, cmd.Start); err != nil {
		return nil, err
	}
	return &Process{cmd: cmd, in: in, out: bufio.NewReader(out)}, nil
}

// Call sends a line and reads the answer.
func (p *Process) Call(question, answer any) error {
	if err := p.Send(question); err != nil {
		return err
	}
	return p.Read(answer)
}

// Read reads one line.
func (p *Process) Read(answer any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		if ended := p.Close(); ended != nil {
			err = ended
		}
		return fmt.Errorf("%s ended before its answer: %w", p.cmd.Args[1], err)
	}
	return json.Unmarshal(line, answer)
}

// Close ends the child by the end of its stdin.
func (p *Process) Close() error {
	return errors.Join(ignoreClosed(p.in.Close()), p.cmd.Wait())
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// Kill ends the child at once, in the middle of whatever it does.
func (p *Process) Kill() error {
	err := p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed, which is what it would say
	return err
}

// Limit kills the child after d, so that whoever waits for its answer does not wait for
// ever. The function that it returns takes the limit back.
func (p *Process) Limit(d time.Duration) (lift func()) {
	t := time.AfterFunc(d, func() { _ = p.cmd.Process.Kill() }) // whoever waits for it sees its end
	return func() { t.Stop() }
}

// Send sends a line.
func (p *Process) Send(question any) error {
	line, err := json.Marshal(question)
	if err != nil {
		return err
	}
	_, err = p.in.Write(append(line, '\n'))
	return err
}
