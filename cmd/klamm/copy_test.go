package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/checker"
	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/internal/faultproxy"
)

const copyConfig = `
version = 1
[host]
id = "mover"
[plugin.dedup]
module = "builtin:dedup"
state = "ids"
config = { id = "key", window = "24h" }
[chain.clean]
topics = ["clean"]
on_send = ["dedup"]
[state.ids]
backend = "file"
path = "ids.state"
`

// copyLab is a broker with a topic raw of 4 partitions.
type copyLab struct{ broker, config string }

func newCopyLab(t *testing.T, config string, records int) *copyLab {
	t.Helper()
	lab := &copyLab{startBroker(t), filepath.Join(t.TempDir(), "config.toml")}
	if err := os.WriteFile(lab.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	klammRun(t, "topic", "create", "raw", "--partitions", "4", "-b", lab.broker).want(t, exitOK)
	lab.produce(t, "raw", 0, records)
	return lab
}

// produce writes records whose value is their number and whose key is that of
// another one for each fifth.
func (l *copyLab) produce(t *testing.T, topic string, first, n int) {
	t.Helper()
	var lines strings.Builder
	for i := first; i < first+n; i++ {
		key := i
		if i%5 == 4 {
			key = i - 1
		}
		fmt.Fprintf(&lines, "{\"key\":\"%d\",\"value\":\"%d\"}\n", key, i)
	}
	klammIn(t, strings.NewReader(lines.String()), "produce", topic, "-b", l.broker, "-i", "json").want(t, exitOK)
}

func (l *copyLab) args(args ...string) []string {
	return append(append([]string{"copy"}, args...), "-b", l.broker, "-c", l.config)
}

func (l *copyLab) copy(t *testing.T, args ...string) ran {
	t.Helper()
	return klammRun(t, l.args(args...)...)
}

// values are how often each value stands in a topic.
func (l *copyLab) values(t *testing.T, topic string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	r := klammRun(t, "consume", topic, "-b", l.broker, "--offset", "start", "--exit-at-end").want(t, exitOK)
	for line := range strings.Lines(r.out) {
		seen[strings.TrimSpace(line)]++
	}
	return seen
}

func TestCopy(t *testing.T) {
	lab := newCopyLab(t, copyConfig, 5000)
	lab.copy(t, "raw", "clean").want(t, exitFailed).wantTalk(t, `destination "clean": unknown topic`, "--create makes it")
	r := lab.copy(t, "raw", "clean", "--create", "--verify", "-o", "json").want(t, exitOK).wantTalk(t, "verified: equal on all 4 partitions of raw", "4,000 of the 4,000 records in clean are in raw as they are there")
	if r.out != `{"schema":"klamm.copy/1","in":5000,"out":4000,"dropped":1000,"dead_lettered":0,"verified":true}`+"\n" {
		t.Errorf("got %s", r.out)
	}
	lab.copy(t, "raw", "clean").want(t, exitFailed).wantTalk(t, "was begun before", "--resume goes on with it")
	plan := lab.copy(t, "raw", "clean", "--resume", "--dry-run", "-o", "json").want(t, exitOK).json(t)
	if plan["schema"] != "klamm.copy-plan/1" || plan["resumed"] != true || plan["chain"] != "clean" || len(plan["partitions"].([]any)) != 4 {
		t.Errorf("plan %v", plan)
	}
	// What came later is not the copy's; a new one has it.
	lab.produce(t, "raw", 5000, 100)
	lab.copy(t, "raw", "clean", "--resume", "--verify").want(t, exitOK).wantTalk(t, "in 5,000 = out 4,000 + dropped 1,000", "verified")
	if again := lab.copy(t, "raw", "clean", "--restart", "--verify", "-o", "json").want(t, exitOK).json(t); again["in"] != 5100.0 || again["out"] != 80.0 || again["verified"] != true {
		t.Errorf("restarted: %v", again)
	}
	if got := lab.values(t, "clean"); len(got) != 4080 {
		t.Errorf("%d values", len(got))
	}
}

// TestCopyDryRun: what a dry run says is what the copy does then, and it leaves no
// ids behind that would make the copy's records duplicates.
func TestCopyDryRun(t *testing.T) {
	lab := newCopyLab(t, copyConfig, 5000)
	klammRun(t, "topic", "create", "clean", "--partitions", "4", "-b", lab.broker).want(t, exitOK)
	said := func(args ...string) (judged map[string]any, sum float64) {
		t.Helper()
		v := lab.copy(t, append([]string{"raw", "clean", "--dry-run", "-o", "json"}, args...)...).want(t, exitOK).json(t)
		for _, p := range v["partitions"].([]any) {
			sum += p.(map[string]any)["judged"].(map[string]any)["in"].(float64)
		}
		return v["judged"].(map[string]any), sum
	}
	for range 2 { // the second says the same
		j, sum := said("--sample", "0")
		ends := fmt.Sprint(j["ends"])
		if j["in"] != 5000.0 || j["out"] != 4000.0 || j["dropped"] != 1000.0 || j["failed"] != 0.0 || j["all"] != true || sum != 5000 {
			t.Errorf("judged %v, partitions %v", j, sum)
		}
		if !strings.Contains(ends, "plugin:dedup") || !strings.Contains(ends, "records:1000") {
			t.Errorf("ends %v", ends)
		}
	}
	if j, sum := said("--sample", "101"); j["in"] != 101.0 || j["all"] != false || sum != 101 {
		t.Errorf("a sample: %v, partitions %v", j, sum)
	}
	if j, sum := said("--sample", "2"); j["in"] != 2.0 || j["all"] != false || sum != 2 {
		t.Errorf("a sample of fewer records than partitions: %v, partitions %v", j, sum)
	}
	lab.copy(t, "raw", "clean", "--dry-run").want(t, exitOK).wantTalk(t, "judged all 5,000 records: out 4,000, dropped 1,000")
	lab.copy(t, "raw", "clean", "--dry-run", "--sample", "-1").want(t, exitUsage)
	if got := len(lab.values(t, "clean")); got != 0 {
		t.Errorf("%d records were written", got)
	}
	r := lab.copy(t, "raw", "clean", "--verify", "-o", "json").want(t, exitOK)
	if r.out != `{"schema":"klamm.copy/1","in":5000,"out":4000,"dropped":1000,"dead_lettered":0,"verified":true}`+"\n" {
		t.Errorf("got %s", r.out)
	}
	if j, _ := said("--resume"); j["in"] != 0.0 || j["all"] != true {
		t.Errorf("nothing is left to copy, and judged %v", j)
	}
}

// TestCopyDryRunOfIDsInKafka judges with memory in their place, and makes no topic.
func TestCopyDryRunOfIDsInKafka(t *testing.T) {
	lab := newCopyLab(t, killedDedup, 500)
	klammRun(t, "topic", "create", "clean", "--partitions", "4", "-b", lab.broker).want(t, exitOK)
	r := lab.copy(t, "raw", "clean", "--dry-run", "-o", "json").want(t, exitOK).wantTalk(t, "[state.ids] is in kafka")
	if j := r.json(t)["judged"].(map[string]any); j["out"] != 400.0 || j["dropped"] != 100.0 {
		t.Errorf("judged %v", j)
	}
	if topics := klammRun(t, "topic", "list", "-b", lab.broker).want(t, exitOK).out; strings.Contains(topics, "klamm-state") {
		t.Errorf("a dry run made a topic: %s", topics)
	}
}

// TestCopyDryRunTellsFailures, which would stop the copy, and dead letters.
func TestCopyDryRunTellsFailures(t *testing.T) {
	lab := newCopyLab(t, strings.Replace(copyConfig, `id = "key"`, `id = "header:none", on_missing = "fail"`, 1), 50)
	klammRun(t, "topic", "create", "clean", "--partitions", "4", "-b", lab.broker).want(t, exitOK)
	r := lab.copy(t, "raw", "clean", "--dry-run").want(t, exitOK).wantTalk(t, "failed 50", "give it a --dead-letter-topic")
	if !strings.Contains(r.out, "DEAD-LETTERED") {
		t.Errorf("got %s", r.out)
	}
	lab.copy(t, "raw", "clean", "--dry-run", "--dead-letter-topic", "dead").want(t, exitOK).wantTalk(t, "dead-lettered 50, failed 0")
}

// TestCopyVerifyTellsLies: a record too many, and records too few, in whatever
// topic, are differences.
func TestCopyVerifyTellsLies(t *testing.T) {
	lab := newCopyLab(t, copyConfig, 1000)
	lab.copy(t, "raw", "clean", "--create").want(t, exitOK)
	klammIn(t, strings.NewReader("x\n"), "produce", "clean", "-b", lab.broker).want(t, exitOK)
	r := lab.copy(t, "raw", "clean", "--resume", "--verify", "-o", "json").want(t, exitFailed).wantTalk(t, "the copy is not verified: it differs in 1 places", "did others write to clean")
	if v := r.json(t); v["verified"] != false || v["in"] != 1000.0 {
		t.Errorf("got %v", v)
	}
}

func TestCompareCopy(t *testing.T) {
	counts := func(in, out, dropped, dead int64) host.CopyCounts {
		return host.CopyCounts{In: in, Out: out, Dropped: dropped, DeadLettered: dead}
	}
	report := func() *host.CopyReport {
		return &host.CopyReport{
			From: "raw", To: "clean",
			Partitions: []host.CopyPartition{{Partition: 0, Start: 0, End: 10, CopyCounts: counts(10, 8, 1, 1)}, {Partition: 1, Start: 5, End: 10, CopyCounts: counts(5, 5, 0, 0)}},
			Outputs:    []host.CopyOutput{{Topic: "clean", Partition: 0, Start: 100, Records: 6}, {Topic: "clean", Partition: 1, Records: 7}, {Topic: "dead", Partition: 0, Records: 1}},
		}
	}
	there := func() map[string]map[int32]int64 {
		return map[string]map[int32]int64{"raw": {0: 10, 1: 5}, "clean": {0: 6, 1: 7}, "dead": {0: 1}}
	}
	for _, tt := range []struct {
		name string
		lie  func(r *host.CopyReport, there map[string]map[int32]int64)
		want string
	}{
		{"true", func(*host.CopyReport, map[string]map[int32]int64) {}, ""},
		{"lost", func(_ *host.CopyReport, m map[string]map[int32]int64) { m["clean"][1]-- }, "clean/1: the copy has written 7 records, and from offset 0 on there are 6"},
		{"doubled", func(_ *host.CopyReport, m map[string]map[int32]int64) { m["clean"][0]++ }, "clean/0: the copy has written 6 records, and from offset 100 on there are 7"},
		{"moved", func(_ *host.CopyReport, m map[string]map[int32]int64) { m["clean"][0]++; m["clean"][1]-- }, "clean/1: the copy has written 7"},
		{"no dead letter", func(_ *host.CopyReport, m map[string]map[int32]int64) { m["dead"][0] = 0 }, "dead/0: the copy has written 1"},
		{"not read", func(_ *host.CopyReport, m map[string]map[int32]int64) { m["raw"][1] = 6 }, "raw/1: 5 records were read, and from offset 5 to 10 there are 6"},
		{"not counted", func(r *host.CopyReport, _ map[string]map[int32]int64) { r.Partitions[0].Dropped = 0 }, "raw/0: in 10 is not out 8 + dropped 0 + dead-lettered 1"},
		{"folded", func(r *host.CopyReport, _ map[string]map[int32]int64) {
			r.Outputs = []host.CopyOutput{{Topic: "clean", Partition: -1, Records: 14}, {Topic: "clean", Partition: 0}, {Topic: "clean", Partition: 1}, r.Outputs[2]}
		}, "clean: the copy has written 14 records, and there are 13 since it began"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, m := report(), there()
			tt.lie(r, m)
			got, err := compareCopy(t.Context(), r, func(_ context.Context, topic string, _, _ map[int32]int64) (map[int32]int64, error) {
				return m[topic], nil
			})
			if err != nil || (tt.want == "") != (len(got) == 0) || !strings.Contains(strings.Join(got, "\n"), tt.want) {
				t.Errorf("got %q, error %v, want %q", got, err, tt.want)
			}
		})
	}
}

// TestContents: whatever is not as it was is seen, but for the order of records of
// different keys.
func TestContents(t *testing.T) {
	type rec struct {
		partition  int32
		key, value string
		header     string
	}
	of := func(recs ...rec) *copyContents {
		c := newContents()
		for _, r := range recs {
			var key, value []byte // "-" is null
			if r.key != "-" {
				key = []byte(r.key)
			}
			if r.value != "-" {
				value = []byte(r.value)
			}
			var headers []klamm.Header
			if r.header != "" {
				headers = []klamm.Header{{Key: r.header, Value: []byte("h")}}
			}
			c.add(r.partition, key, value, headers)
		}
		return c
	}
	source := []rec{{0, "a", "1", ""}, {0, "a", "2", "x"}, {1, "b", "3", ""}, {0, "-", "4", ""}, {1, "c", "-", ""}, {0, "d", "5", ""}, {1, "d", "6", ""}}
	spread := slices.Concat([]rec{{1, "a", "2", "x"}, {0, "a", "1", ""}}, source[2:])
	for _, tt := range []struct {
		name string
		to   []rec
		want string
	}{
		{"the same", source, ""},
		{"a key in several partitions", spread, "records of 1 keys are in several partitions"},
		{"other partitions, other order of keys", []rec{{3, "-", "4", ""}, {2, "c", "-", ""}, {2, "b", "3", ""}, {1, "a", "1", ""}, {1, "a", "2", "x"}, {0, "d", "6", ""}, {0, "d", "5", ""}}, ""},
		{"order of a key", []rec{{0, "a", "2", "x"}, {0, "a", "1", ""}, source[2], source[3], source[4], source[5], source[6]}, "records of 1 keys are in another order"},
		{"a value", []rec{{0, "a", "9", ""}, source[1], source[2], source[3], source[4], source[5], source[6]}, "are not those of"},
		{"values that have changed keys", []rec{{0, "a", "3", ""}, source[1], {1, "b", "1", ""}, source[3], source[4], source[5], source[6]}, "are not those of"},
		{"a header", []rec{source[0], {0, "a", "2", "y"}, source[2], source[3], source[4], source[5], source[6]}, "are not those of"},
		{"null is empty", []rec{source[0], source[1], source[2], source[3], {1, "c", "", ""}, source[5], source[6]}, "are not those of"},
		{"a key moves into the value", []rec{{0, "", "a1", ""}, source[1], source[2], source[3], source[4], source[5], source[6]}, "are not those of"},
		{"one twice for another", []rec{source[0], source[0], source[2], source[3], source[4], source[5], source[6]}, "are not those of"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			differences, _ := of(source...).compare(of(tt.to...), "raw", "clean", true)
			got := strings.Join(differences, "\n")
			if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		name  string
		to    []rec
		order copyOrder
	}{
		{"the same", source, copyOrder{equal: 3}}, // the fourth has none in the source
		{"by a partitioner that spreads keys", spread, copyOrder{equal: 2, spread: 1}},
	} {
		differences, order := of(source...).compare(of(tt.to...), "raw", "clean", false)
		if len(differences) > 0 || order != tt.order {
			t.Errorf("%s: %q, %+v, want %+v", tt.name, differences, order, tt.order)
		}
	}
}

// TestCopyVerifiesContents of a copy without plugins, where another one of the same
// counts is not taken for it.
func TestCopyVerifiesContents(t *testing.T) {
	lab := newCopyLab(t, killedConfig, 1000)
	lab.copy(t, "raw", "clean", "--create", "--verify").want(t, exitOK).wantTalk(t, "contents are equal, and so is the order of the records of 800 keys")
	klammRun(t, "topic", "create", "other", "--partitions", "4", "-b", lab.broker).want(t, exitOK)
	lab.produce(t, "other", 1, 1000)
	c := &copyRun{a: &app{streams: streams{out: io.Discard, talk: io.Discard}}, s: &settings{Config: &config.Config{}}}
	reader := topicReader(func(topic string) *checker.Kafka {
		if topic == "clean" {
			topic = "other"
		}
		return &checker.Kafka{Topic: topic, Brokers: []string{lab.broker}}
	})
	var r host.CopyReport
	r.From, r.To = "raw", "clean"
	for p := range int32(4) {
		r.Partitions = append(r.Partitions, host.CopyPartition{Partition: p, End: 1000})
		r.Outputs = append(r.Outputs, host.CopyOutput{Topic: "clean", Partition: p})
	}
	got, err := c.compareContents(t.Context(), &r, reader.scan)
	if err != nil || len(got) != 1 || !strings.Contains(got[0], "are not those of raw") {
		t.Errorf("got %q, error %v", got, err)
	}
}

// TestCopyVerifiesSpreadKeys: a chain without plugins may still send a key's records
// to several partitions, where they have no order.
func TestCopyVerifiesSpreadKeys(t *testing.T) {
	lab := newCopyLab(t, killedConfig+`
[chain.spread]
topics = ["clean"]
partitioner = "round_robin"
`, 1000)
	lab.copy(t, "raw", "clean", "--create", "--verify").want(t, exitOK).wantTalk(t, "keys have none, as the partitioner sent them to several partitions")
}

func TestProgressText(t *testing.T) {
	half := host.CopyProgress{Done: 600, Total: 1000, CopyCounts: host.CopyCounts{In: 590, Dropped: 7}}
	if got := progressText(half, host.CopyProgress{Done: 200, CopyCounts: host.CopyCounts{In: 190}}, 4*time.Second); !strings.Contains(got, " 60%  600/1,000  100 records/s  ETA 4s  dropped 7") {
		t.Errorf("got %q", got)
	}
	if got := progressText(host.CopyProgress{}, host.CopyProgress{}, 0); !strings.Contains(got, "100%") {
		t.Errorf("nothing to copy: %q", got)
	}
}

const killedConfig = `
version = 1
[host]
id = "mover"
[consumer]
max_poll_records = 50
`

// killedDedup has ids in Kafka, which asks for a pipeline that uses them.
const killedDedup = killedConfig + `
[plugin.dedup]
module = "builtin:dedup"
state = "ids"
config = { id = "key", window = "24h" }
[chain.clean]
topics = ["clean"]
on_send = ["dedup"]
[state.ids]
backend = "kafka"
[pipeline.clean]
from = ["raw"]
to = "clean"
guarantee = "exactly_once"
`

// TestCopyKilled kills a copy in the middle, again and again, and goes on. Nothing
// is lost or doubled, and the figures are those of all runs.
func TestCopyKilled(t *testing.T) {
	const records = 40_000
	lab := newCopyLab(t, killedConfig, records)
	lab.copyKilled(t)
	r := lab.copy(t, "raw", "clean", "--resume", "--verify", "-o", "json").want(t, exitOK)
	if r.out != fmt.Sprintf(`{"schema":"klamm.copy/1","in":%d,"out":%d,"dropped":0,"dead_lettered":0,"verified":true}`+"\n", records, records) {
		t.Errorf("got %s", r.out)
	}
	got, wrong := lab.values(t, "clean"), 0
	for i := range records {
		if got[fmt.Sprint(i)] != 1 {
			wrong++
		}
	}
	if wrong > 0 || len(got) != records {
		t.Errorf("%d of %d values are not there once, and there are %d", wrong, records, len(got))
	}
}

// TestCopyKilledKeepsItsIDs: with ids in Kafka no duplicate passes, also where a
// kill lies between the two.
func TestCopyKilledKeepsItsIDs(t *testing.T) {
	const records, unique = 40_000, 32_000
	lab := newCopyLab(t, killedDedup, records)
	lab.copyKilled(t)
	r := lab.copy(t, "raw", "clean", "--resume", "--verify", "-o", "json").want(t, exitOK)
	if r.out != fmt.Sprintf(`{"schema":"klamm.copy/1","in":%d,"out":%d,"dropped":%d,"dead_lettered":0,"verified":true}`+"\n", records, unique, records-unique) {
		t.Errorf("got %s", r.out)
	}
	if got := len(lab.values(t, "clean")); got != unique {
		t.Errorf("there are %d values, want %d", got, unique)
	}
}

// killAt is the request at which a copy is killed: it is on its way then, and
// reaches the broker when the process is gone.
type killAt struct {
	key    kmsg.Key
	number int
}

// kills are in such an order that a transaction with all that is left to copy is
// committed by the last of the first sureKills at the earliest. Those behind it
// strike where there is something left.
var kills = []killAt{
	{kmsg.Produce, 1}, {kmsg.TxnOffsetCommit, 1}, {kmsg.Produce, 4}, {kmsg.Produce, 2}, {kmsg.EndTxn, 1},
	{kmsg.Produce, 1}, {kmsg.EndTxn, 2},
}

const sureKills = 5

// copyKilled copies raw to clean in processes of their own. Each of kills ends
// one, sureKills of them for certain; the last goes on to the end.
func (l *copyLab) copyKilled(t *testing.T) {
	t.Helper()
	klammRun(t, "topic", "create", "clean", "--partitions", "4", "-b", l.broker).want(t, exitOK)
	w := &watch{over: t.Context().Done(), reached: make(chan chan struct{})}
	p, err := faultproxy.New([]string{l.broker}, faultproxy.Options{Observe: w.observe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	through := *l
	through.broker = p.Addrs()[0]
	killed := 0
	for _, at := range kills {
		w.await(at)
		c := through.startCopy(t)
		select {
		case held := <-w.reached:
			_ = c.cmd.Process.Kill() // it may have ended
			<-c.exited
			close(held)
			killed++
		case err := <-c.exited:
			if err != nil || killed < sureKills {
				t.Fatalf("after %d kills: ended before its %s number %d: %v: %s", killed, at.key.Name(), at.number, err, c.talk)
			}
		}
	}
	t.Logf("%d copies were killed", killed)
	w.await(killAt{number: -1})
	c := through.startCopy(t)
	if err := <-c.exited; err != nil {
		t.Fatalf("after %d kills: %v: %s", killed, err, c.talk)
	}
}

// copying is a process that copies.
type copying struct {
	cmd    *exec.Cmd
	talk   *output
	exited chan error
}

func (l *copyLab) startCopy(t *testing.T) *copying {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &copying{talk: newOutput(), exited: make(chan error, 1)}
	c.cmd = exec.CommandContext(t.Context(), self, l.args("raw", "clean", "--resume", "-o", "json")...)
	c.cmd.Env = append(os.Environ(), asCommand+"=1")
	c.cmd.Stdout, c.cmd.Stderr = newOutput(), c.talk
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.exited <- c.cmd.Wait() }()
	return c
}

// watch holds one request.
type watch struct {
	over    <-chan struct{}
	reached chan chan struct{} // gets what ends the hold

	mu   sync.Mutex
	at   killAt
	seen int
}

func (w *watch) await(at killAt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.seen = at, 0
}

func (w *watch) observe(r faultproxy.Request) {
	w.mu.Lock()
	if kmsg.Key(r.Key) == w.at.key {
		w.seen++
	}
	struck := w.seen == w.at.number && kmsg.Key(r.Key) == w.at.key
	w.mu.Unlock()
	if !struck {
		return
	}
	held := make(chan struct{})
	select {
	case w.reached <- held:
		<-held
	case <-w.over:
	}
}
