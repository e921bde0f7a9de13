package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm/bench/internal/child"
	"github.com/klamm-io/klamm/bench/internal/command"
	"github.com/klamm-io/klamm/bench/internal/sink"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/broker"
)

// brokerCommand is the hidden command that runs a broker as a process.
const brokerCommand = "serve-broker"

// counter tells what has come for a topic since it was asked last.
type counter interface {
	// deep has records be read for their checksum, where that is possible.
	deep(on bool) error
	take(topic string) (sink.Count, error)
	topic(name string, partitions int) error
	addrs() []string
	close() error
}

// ask is a line to the broker's process.
type ask struct {
	Deep *bool  `json:"deep,omitempty"`
	Take string `json:"take,omitempty"`
}

// serveBroker runs a sink until stdin ends. The argument is the number of
// partitions.
func serveBroker(arg string, in io.Reader, out, stderr io.Writer) int {
	err := func() error {
		partitions, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		b, err := sink.Listen(partitions)
		if err != nil {
			return err
		}
		answers := json.NewEncoder(out)
		if err := answers.Encode([]string{b.Addr()}); err != nil {
			return errors.Join(err, b.Close())
		}
		return errors.Join(serveSink(b, bufio.NewScanner(in), answers), b.Close())
	}()
	return command.Failed(err, stderr)
}

func serveSink(b *sink.Broker, lines *bufio.Scanner, answers *json.Encoder) error {
	for lines.Scan() {
		var a ask
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return err
		}
		var c sink.Count
		if a.Deep != nil {
			b.Deep(*a.Deep)
		} else {
			c = b.Take(a.Take)
		}
		if err := answers.Encode(c); err != nil {
			return err
		}
	}
	return lines.Err()
}

// sinkProcess is a sink in a process of its own.
type sinkProcess struct{ *child.Broker }

func startSink(partitions int) (*sinkProcess, error) {
	b, err := child.StartBroker(brokerCommand, partitions)
	return &sinkProcess{b}, err
}

func (s *sinkProcess) close() error { return s.Close() }

func (s *sinkProcess) addrs() []string { return s.Addrs }

func (s *sinkProcess) topic(string, int) error { return nil } // named is made

func (s *sinkProcess) deep(on bool) error {
	var c sink.Count
	return s.Call(ask{Deep: &on}, &c)
}

func (s *sinkProcess) take(topic string) (c sink.Count, err error) {
	return c, s.Call(ask{Take: topic}, &c)
}

// cluster is a broker that stores records: what came is told by its offsets.
type cluster struct {
	at    []string
	admin *kadm.Client
	seen  map[string]int64
	stop  func() error
}

// startKfake runs kfake in this process, which does nothing else meanwhile.
func startKfake(ctx context.Context, partitions int) (*cluster, error) {
	b, err := broker.Start(ctx, &host.EmbeddedConfig{Listen: "127.0.0.1:0", Partitions: partitions}, broker.Options{})
	if err != nil {
		return nil, err
	}
	return connect(b.Addrs(), b.Close)
}

func connect(at []string, stop func() error) (*cluster, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(at...))
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return &cluster{at: at, admin: kadm.NewClient(cl), seen: map[string]int64{}, stop: stop}, nil
}

func openCluster(addresses string) (*cluster, error) {
	return connect(strings.Split(addresses, ","), func() error { return nil })
}

func (c *cluster) addrs() []string { return c.at }

func (c *cluster) deep(bool) error { return nil }

func (c *cluster) topic(name string, partitions int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := c.admin.CreateTopic(ctx, int32(partitions), -1, nil, name)
	return err
}

func (c *cluster) take(topic string) (sink.Count, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	offsets, err := c.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		return sink.Count{}, err
	}
	end := int64(0)
	offsets.Each(func(o kadm.ListedOffset) { end += o.Offset })
	n := end - c.seen[topic]
	c.seen[topic] = end
	return sink.Count{Records: n}, nil
}

func (c *cluster) close() error {
	c.admin.Close()
	return c.stop()
}

// startBroker starts or finds the broker that the command line names.
func startBroker(ctx context.Context, o options) (counter, error) {
	switch o.broker {
	case "sink":
		return startSink(o.partitions)
	case "kfake":
		return startKfake(ctx, o.partitions)
	}
	return openCluster(o.broker)
}
