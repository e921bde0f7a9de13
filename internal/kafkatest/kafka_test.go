//go:build kafka && unix

package kafkatest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// orphanEnv makes this test binary a process that starts a broker and is killed.
const orphanEnv = "KLAMM_KAFKATEST_ORPHAN"

func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		orphan()
	}
	os.Exit(m.Run())
}

func orphan() {
	c, err := Start(context.Background(), Options{})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(c.dir, c.nodes[0].pid)
	select {}
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestBrokersEndWithTheProcess kills a process whose broker is stopped, and
// nothing may be left of either.
func TestBrokersEndWithTheProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(limited(t), self)
	cmd.Env = append(os.Environ(), orphanEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	dir, number, ok := strings.Cut(strings.TrimSpace(line), " ")
	pid, notNumber := strconv.Atoi(number)
	if err != nil || !ok || notNumber != nil {
		t.Fatalf("the process said %q: %v", line, err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	until := time.Now().Add(time.Minute)
	for {
		_, statErr := os.Stat(dir)
		if errors.Is(statErr, os.ErrNotExist) && !alive(pid) {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("process %d lives: %v; folder %s: %v", pid, alive(pid), dir, statErr)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// alive is false for a process that nobody has collected yet: where the first
// process of the system does not, it stays in the table.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

// TestCountOfWhatIsCommitted: records of an aborted transaction are none, also behind
// the last committed one, and an empty topic has none.
func TestCountOfWhatIsCommitted(t *testing.T) {
	c, ctx := Fresh(t, 2, "some", "none"), limited(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.DefaultProduceTopic("some"), kgo.TransactionalID("count"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for range 10 + i {
			if err := cl.ProduceSync(ctx, kgo.StringRecord("r")).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := cl.EndTransaction(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
	for topic, want := range map[string]int{"some": 10 + 12, "none": 0} {
		if n, err := c.Count(ctx, topic); err != nil || n != want {
			t.Errorf("Java's consumer finds %d records of %q, want %d: %v", n, topic, want, err)
		}
	}
}

// TestJavaAndGoReadTheSame writes with franz-go, and reads with Java's console
// consumer and from a segment on disk.
func TestJavaAndGoReadTheSame(t *testing.T) {
	c, ctx := Fresh(t, 1, "words"), limited(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.DefaultProduceTopic("words"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var want strings.Builder
	for i := range 100 {
		fmt.Fprintf(&want, "word %d\n", i)
		if err := cl.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint("word ", i))).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Consume(ctx, "words", 100)
	if err != nil {
		t.Fatal(err)
	}
	if got != want.String() {
		t.Errorf("the console consumer printed %q, want %q", got, want.String())
	}
	if n, err := c.Count(ctx, "words"); err != nil || n != 100 {
		t.Errorf("Java's consumer finds %d records: %v", n, err)
	}
	batches, err := c.Batches(ctx, "words")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, b := range batches {
		if !b.Valid || b.Base != int64(found) || b.Sequence != found || b.Codec == "" {
			t.Errorf("batch %+v, want a valid one at %d", b, found)
		}
		found += b.Count
	}
	if found != 100 {
		t.Errorf("the batches have %d records, want 100", found)
	}
	segment, err := c.Dump(ctx, "words", true)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(segment, "payload: word "); n != 100 {
		t.Errorf("the segment has %d records, want 100:\n%s", n, segment)
	}
}

// TestClearLeavesNothing: topics of one test are not seen by the next.
func TestClearLeavesNothing(t *testing.T) {
	Fresh(t, 3, "a", "b")
	c := Fresh(t, 2, "b")
	if leaders, err := c.Leaders(limited(t), "b"); err != nil || len(leaders) != 2 {
		t.Errorf("topic b has the leaders %v: %v", leaders, err)
	}
	if _, err := c.Leaders(limited(t), "a"); err == nil {
		t.Error("topic a is still there")
	}
}
