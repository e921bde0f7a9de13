package broker

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/klamm-io/klamm/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func mustStart(t *testing.T, cfg config.Embedded, o Options) *Broker {
	t.Helper()
	b, err := Start(testContext(t), &cfg, o)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func mustClient(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addrs()...)}, opts...)...)
	if err != nil {
		t.Fatalf("kgo: %v", err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func TestStartDefaults(t *testing.T) {
	b := mustStart(t, config.Embedded{Topics: []string{"a", "b"}}, Options{})
	if addrs := b.Addrs(); len(addrs) != 1 || !strings.HasPrefix(addrs[0], "127.0.0.1:") {
		t.Fatalf("Addrs() = %v, want one of 127.0.0.1", addrs)
	}
	topics, err := kadm.NewClient(mustClient(t, b)).ListTopics(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if n := len(topics[name].Partitions); n != defaultPartitions {
			t.Errorf("topic %q has %d partitions, want %d", name, n, defaultPartitions)
		}
	}
}

func TestStartOptions(t *testing.T) {
	b := mustStart(t, config.Embedded{Partitions: 7}, Options{Brokers: 3, AutoCreateTopics: true})
	if n := len(b.Addrs()); n != 3 {
		t.Fatalf("%d brokers, want 3", n)
	}
	cl := mustClient(t, b, kgo.AllowAutoTopicCreation())
	if err := cl.ProduceSync(testContext(t), &kgo.Record{Topic: "new"}).FirstErr(); err != nil {
		t.Fatalf("produce to a topic that is to be created: %v", err)
	}
	if n := len(b.Cluster().PartitionInfos("new")); n != 7 {
		t.Errorf("created topic has %d partitions, want 7", n)
	}
}

func TestStartListensWhereAsked(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()

	if _, err := Start(testContext(t), &config.Embedded{Listen: addr}, Options{}); err == nil {
		t.Fatal("a taken port was accepted")
	} else {
		for _, want := range []string{addr, "taken by another program", "port 0"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not say %q", err, want)
			}
		}
	}
	ln.Close()
	b := mustStart(t, config.Embedded{Listen: addr}, Options{})
	if got := b.Addrs(); !slices.Equal(got, []string{addr}) {
		t.Errorf("Addrs() = %v, want %v", got, addr)
	}
}

func TestStartErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	garbage := t.TempDir()
	if err := os.WriteFile(filepath.Join(garbage, "topics.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(garbage, "meta.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		cfg  config.Embedded
		want []string
	}{
		{"listen without port", config.Embedded{Listen: "localhost"}, []string{`listen = "localhost"`, "127.0.0.1:0"}},
		{"address of another machine", config.Embedded{Listen: "192.0.2.1:0"}, []string{`listen on "192.0.2.1:0"`}},
		{"data_dir is a file", config.Embedded{DataDir: file}, []string{"data_dir", file, "directory"}},
		{"data_dir below a file", config.Embedded{DataDir: filepath.Join(file, "x")}, []string{"data_dir", file, "directory"}},
		{"data_dir with garbage", config.Embedded{DataDir: garbage}, []string{"data_dir", garbage, "move it away"}},
		{"topic name", config.Embedded{Topics: []string{"a/b"}}, []string{`create topic "a/b"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Start(testContext(t), &tt.cfg, Options{})
			if err == nil {
				b.Close()
				t.Fatal("started")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestDataDirSurvivesRestart(t *testing.T) {
	ctx, dir := testContext(t), filepath.Join(t.TempDir(), "data")
	cfg := config.Embedded{DataDir: dir, Partitions: 1, Topics: []string{"t"}}

	b := mustStart(t, cfg, Options{})
	if _, err := Start(ctx, &cfg, Options{}); err == nil || !strings.Contains(err.Error(), "in use by another broker") {
		t.Fatalf("second broker on the same data_dir: %v", err)
	}
	cl := mustClient(t, b)
	for i := range 10 {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: fmt.Appendf(nil, "v%d", i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	cl.Close()
	b.Close()

	cfg.Topics = []string{"t", "later"}
	b = mustStart(t, cfg, Options{})
	if n := len(b.Cluster().PartitionInfos("later")); n != 1 {
		t.Errorf("topic added to the configuration has %d partitions after the restart, want 1", n)
	}
	cl = mustClient(t, b, kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []string
	for len(got) < 10 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	if got[0] != "v0" || got[9] != "v9" || len(got) != 10 {
		t.Errorf("read back %v, want v0 ... v9", got)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestForeignClientIsTurnedAway(t *testing.T) {
	b := mustStart(t, config.Embedded{}, Options{})
	c, err := net.Dial("tcp", b.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err = c.Read(make([]byte, 1))
	if nerr, ok := err.(net.Error); err == nil || ok && nerr.Timeout() {
		t.Fatalf("read = %v, want the connection closed", err)
	}
}

// TestDialWithoutNetwork: what is in this process reaches the broker past its
// port, others through it at the same time.
func TestDialWithoutNetwork(t *testing.T) {
	b := mustStart(t, config.Embedded{Topics: []string{"t"}}, Options{})
	past := func(ctx context.Context, _, addr string) (net.Conn, error) { return b.inside.at(addr).dial(ctx) }
	inside := mustClient(t, b, kgo.Dialer(past), kgo.ConsumeTopics("t"))
	outside := mustClient(t, b)
	for _, cl := range []*kgo.Client{inside, outside} {
		if err := cl.ProduceSync(testContext(t), &kgo.Record{Topic: "t", Value: make([]byte, 1<<19)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for read := 0; read < 2; {
		fetches := inside.PollFetches(testContext(t))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		read += fetches.NumRecords()
	}
	c, err := b.Dial(testContext(t), "tcp", b.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.(*net.TCPConn); !ok {
		t.Errorf("with a network it is a %T", c)
	}
	c.Close()
	inside.Close()
	b.Close()
	if _, err := past(testContext(t), "tcp", b.Addrs()[0]); err == nil {
		t.Error("a closed broker takes connections")
	}
}
