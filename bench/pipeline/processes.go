package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/klamm-io/klamm/bench/internal/child"
	"github.com/klamm-io/klamm/bench/internal/command"
	"github.com/klamm-io/klamm/bench/internal/drive"
	"github.com/klamm-io/klamm/bench/internal/jobs"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/broker"
)

// The hidden commands.
const (
	jobCommand    = "run-job"
	brokerCommand = "serve-broker"
)

// serveBroker runs an embedded broker until stdin ends. The argument is the
// number of partitions.
func serveBroker(arg string, in io.Reader, out, stderr io.Writer) int {
	err := func() error {
		partitions, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		b, err := broker.Start(context.Background(), &host.EmbeddedConfig{Listen: "127.0.0.1:0", Partitions: partitions}, broker.Options{})
		if err != nil {
			return err
		}
		if err := json.NewEncoder(out).Encode(b.Addrs()); err != nil {
			return errors.Join(err, b.Close())
		}
		_, err = io.Copy(io.Discard, in)
		return errors.Join(err, b.Close())
	}()
	return command.Failed(err, stderr)
}

// report is what a job says when it is done.
type report struct {
	Ready   bool    `json:"ready,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	CPU     float64 `json:"cpu,omitempty"`
	Err     string  `json:"err,omitempty"`
}

// serveJob sets a job up, says so, runs it when it is told to, and reports. The
// end of stdin ends the job.
func serveJob(arg string, in io.Reader, out, stderr io.Writer) int {
	err := func() error {
		var cfg jobs.Config
		if err := json.Unmarshal([]byte(arg), &cfg); err != nil {
			return err
		}
		job, err := jobs.Open(cfg)
		if err != nil {
			return err
		}
		answers, lines := json.NewEncoder(out), bufio.NewReader(in)
		if err := answers.Encode(report{Ready: true}); err != nil {
			return err
		}
		if _, err := lines.ReadBytes('\n'); err != nil {
			return errors.Join(job.Close(), ended(err))
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			_, _ = io.Copy(io.Discard, lines) // its end is what is waited for
			cancel()
		}()
		r, err := timed(ctx, job, cfg.Profile)
		return errors.Join(err, answers.Encode(r), job.Close())
	}()
	return command.Failed(err, stderr)
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func timed(ctx context.Context, job jobs.Job, profile string) (r report, err error) {
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return r, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return r, err
		}
		defer pprof.StopCPUProfile()
	}
	cpu, began := drive.CPUSeconds(), time.Now()
	if err := job.Run(ctx); err != nil {
		r.Err = err.Error()
	}
	r.CPU = drive.CPUSeconds() - cpu
	ended := time.Now()
	if e, ok := job.(jobs.Ender); ok && e.Ended().After(began) {
		ended = e.Ended()
	}
	if b, ok := job.(jobs.Beginner); ok && b.Began().After(began) {
		began = b.Began()
	}
	r.Seconds = ended.Sub(began).Seconds()
	return r, nil
}

// startJob returns a job that is set up.
func startJob(cfg jobs.Config) (*child.Process, error) {
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	p, err := child.StartSelf(child.ClientCore, jobCommand, string(text))
	if err != nil {
		return nil, err
	}
	var r report
	if err := p.Read(&r); err != nil {
		return nil, err
	}
	return p, nil
}
