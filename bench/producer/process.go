package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
)

// The client has a core for itself, and so has the broker. Whoever asks them
// sleeps while they work.
const (
	brokerCore = 0
	clientCore = 1
)

// process is a child that answers lines of JSON with lines of JSON.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startSelf starts this program with another command on one core.
func startSelf(core int, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(core, self, args...)
}

func start(core int, path string, args ...string) (*process, error) {
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
	if err := onCore(core, cmd.Start); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, in: in, out: bufio.NewReader(out)}, nil
}

func (p *process) call(question, answer any) error {
	line, err := json.Marshal(question)
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return err
	}
	return p.read(answer)
}

func (p *process) read(answer any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		if ended := p.close(); ended != nil {
			err = ended
		}
		return fmt.Errorf("%s ended before its answer: %w", p.cmd.Args[1], err)
	}
	return json.Unmarshal(line, answer)
}

// close ends the child by the end of its stdin.
func (p *process) close() error {
	return errors.Join(ignoreClosed(p.in.Close()), p.cmd.Wait())
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
