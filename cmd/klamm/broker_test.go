package main

import (
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestBrokerServesOthers: another client writes and reads through the port that
// `klamm broker` prints.
func TestBrokerServesOthers(t *testing.T) {
	addr := startBroker(t, "--topic", "orders", "--partitions", "2")
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte("one")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := string(c.PollFetches(t.Context()).Records()[0].Value); got != "one" {
		t.Errorf("read %q", got)
	}
}

func TestBrokerKeepsData(t *testing.T) {
	dir := t.TempDir()
	for _, want := range []int64{0, 1, 2} {
		b := start(t, "broker", "--listen", "127.0.0.1:0", "--data-dir", dir, "--topic", "orders")
		addr := b.out.await(t, "\n")
		c, err := kgo.NewClient(kgo.SeedBrokers(addr[:len(addr)-1]), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		rec, err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "orders"}).First()
		if err != nil || rec.Offset != want {
			t.Errorf("offset %d, %v; want %d", rec.Offset, err, want)
		}
		c.Close()
		if code := b.stop(t); code != exitOK {
			t.Fatalf("exit code %d: %s", code, b.talk)
		}
	}
}

func TestBrokerPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	klammRun(t, "broker", "--listen", l.Addr().String()).want(t, exitFailed).wantTalk(t, l.Addr().String())
}

func TestBrokerSaysHonestly(t *testing.T) {
	b := start(t, "broker", "--listen", "127.0.0.1:0")
	b.talk.await(t, "not Apache Kafka")
	done := make(chan int)
	go func() { done <- b.stop(t) }()
	select {
	case code := <-done:
		if code != exitOK {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(patience):
		t.Error("Ctrl-C does not end it")
	}
}

func TestBrokerFlags(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--partitions", "0"}, "--partitions: 0 is too small; the least is 1"},
		{[]string{"--partitions", "100000000"}, "--partitions: 100000000 is too large"},
		{[]string{"--listen", "here"}, `--listen: "here" is no host:port; write for example`},
		{[]string{"--listen", "127.0.0.1:99999"}, `--listen: "127.0.0.1:99999" is no host:port`},
		{[]string{"--listen", ""}, `--listen: "" is no host:port`},
		{[]string{"--topic", "a", "--topic", "a/b"}, `--topic: topic name "a/b" holds letters`},
		{[]string{"--topic", "__a", "--partitions", "0"}, "the least is 1\n  --topic: topic name \"__a\" belongs to Kafka"},
	} {
		klammRun(t, append([]string{"broker"}, tt.args...)...).want(t, exitUsage).wantTalk(t, tt.want)
	}
}
