//go:build unix

package killtest

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/checker"
	"github.com/klamm-io/klamm/internal/config"
)

// The test binary plays all roles; roleEnv has the role of a child and its
// settings.
const roleEnv = "KLAMM_KILLTEST"

type role struct {
	Brokers bool          `json:"brokers,omitempty"`
	ID      string        `json:"id,omitempty"`
	Addrs   []string      `json:"addrs,omitempty"`
	Dir     string        `json:"dir"`
	State   string        `json:"state,omitempty"`
	Group   string        `json:"group,omitempty"` // group_protocol; "": classic
	Session time.Duration `json:"session,omitempty"`
	File    int           `json:"file,omitempty"` // the how manieth of state = file
}

const (
	inTopic, outTopic, deadTopic = "raw", "clean", "dead"
	pipelineName                 = "clean"
	partitions                   = 6

	session  = 2 * time.Second
	interval = 20 * time.Millisecond
)

// Exit codes of a host.
const (
	exitFailed = 1
	exitFenced = 3
)

func TestMain(m *testing.M) {
	text := os.Getenv(roleEnv)
	if text == "" {
		flag.Parse()
		os.Exit(m.Run())
	}
	var r role
	err := json.Unmarshal([]byte(text), &r)
	if err == nil && r.Brokers {
		err = runBrokers(r)
	} else if err == nil {
		err = runHost(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, klamm.ErrFenced) {
			os.Exit(exitFenced)
		}
		os.Exit(exitFailed)
	}
}

// orphaned ends the process when its parent does: then stdin ends.
func orphaned() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func runBrokers(r role) error {
	b, err := broker.Start(context.Background(), &config.Embedded{Partitions: partitions, Topics: []string{inTopic, outTopic, deadTopic}},
		broker.Options{Brokers: 3, Kafka: []kfake.Opt{
			kfake.GroupMinSessionTimeout(100 * time.Millisecond),
			kfake.BrokerConfigs(map[string]string{
				"group.consumer.session.timeout.ms":    strconv.FormatInt(session.Milliseconds(), 10),
				"group.consumer.heartbeat.interval.ms": strconv.FormatInt((session / 8).Milliseconds(), 10),
			}),
		}})
	if err != nil {
		return err
	}
	fmt.Println("ready", strings.Join(b.Addrs(), ","))
	orphaned()
	return nil
}

// began is when this process came as far as the code of the test.
var began = time.Now()

// cpu is the processor time that this process has had.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func runHost(r role) error {
	go orphaned()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	h, err := host.New(r.config(), host.WithLogger(log), host.WithInterceptor("poison", poison{}), host.WithInterceptor("told", &told{}))
	if err != nil {
		return err
	}
	err = h.Run(ctx)
	closing, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return errors.Join(err, h.Close(closing))
}

func (r role) config() host.Config {
	ids := host.StateConfig{Backend: r.State}
	if r.State == "file" {
		ids.Path = filepath.Join(r.Dir, fmt.Sprint(r.ID, r.File, ".ids"))
	}
	if r.State == "kafka" {
		ids.PartitionedByID = true // copies are
	}
	cfg := host.Config{
		State:  map[string]host.StateConfig{"ids": ids},
		Plugin: map[string]host.PluginConfig{"dedup": {Module: "builtin:dedup", State: "ids", Config: map[string]any{"id": "header:" + checker.DedupHeader, "window": "24h"}}},
		Chain:  map[string]host.ChainConfig{"c": {Topics: []string{outTopic}, OnSend: []string{"dedup", "poison"}, OnCommit: []string{"told"}}},
		Pipeline: map[string]host.PipelineConfig{pipelineName: {
			From: []string{inTopic}, To: outTopic, DeadLetterTopic: deadTopic, Guarantee: "exactly_once",
			CommitInterval: host.Duration(interval), TransactionTimeout: host.Duration(r.Session), // beyond it nobody waits for a host that died
		}},
	}
	cfg.Host.ID = r.ID
	cfg.Cluster.BootstrapServers = r.Addrs
	cfg.Plugins.CacheDir = filepath.Join(r.Dir, "cache")
	cfg.Producer.Linger = host.Duration(2 * time.Millisecond)
	if cfg.Consumer.GroupProtocol = config.GroupProtocol(r.Group); r.Group != string(config.ConsumerProtocol) {
		cfg.Consumer.SessionTimeout, cfg.Consumer.Heartbeat = host.Duration(r.Session), host.Duration(r.Session/8)
	}
	cfg.Consumer.FetchMaxWait, cfg.Consumer.MaxPollRecords = host.Duration(50*time.Millisecond), 50
	return cfg
}

// poisoned records go to the dead-letter topic, within the transaction.
func poisoned(id checker.ID) bool { return id.N()%25 == 9 }

// poison fails them.
type poison struct{}

func (poison) OnSend(_ context.Context, items []*interceptor.Item) error {
	for _, it := range items {
		p, err := checker.ParsePayload(inTopic, it.Record.Key, it.Record.Value, it.Record.Headers)
		if err != nil {
			return err
		}
		if poisoned(p.ID) {
			it.Fail(errPoison)
		}
	}
	return nil
}

var errPoison = errors.New("poison")

// told says on stdout when the host has first committed, after how long and with
// how much processor time.
type told struct{ once sync.Once }

func (c *told) OnCommit(context.Context, []interceptor.Commit) error {
	c.once.Do(func() { fmt.Println("committed", time.Since(began), cpu()) })
	return nil
}
