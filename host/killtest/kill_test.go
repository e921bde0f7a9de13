//go:build unix

package killtest

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm/internal/checker"
	"github.com/klamm-io/klamm/internal/config"
)

var (
	roundsFlag = flag.Int("rounds", 6, "how many times hosts are killed, stopped or replaced")
	seedFlag   = flag.Uint64("seed", 0, "`number` that decides; 0: another one each time")
	groupFlag  = flag.String("group", "classic", "`protocol` of the group, classic or consumer")
	stateFlag  = flag.String("state", "kafka", "backend of the dedup state")
	kindsFlag  = flag.String("kinds", "", "`names` of the only kinds of rounds; none: all")
	txnFlag    = flag.Int("transactions", 2, "`version` of transactions that the brokers agree on, 1 or 2")
)

// patience is for what takes moments, on a machine that has other work.
const patience = 2 * time.Minute

// world is the brokers, the two hosts, and what was measured.
type world struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	role  role // of every host, but for its id
	hosts [2]*process
	// brokers are a process too, where they are the embedded ones.
	brokers *process
	files   [2]int
	done    int // rounds
	fig     figures
}

// figures are printed at the end.
type figures struct {
	Rounds map[string]int `json:"rounds"`
	Same   latencies      `json:"first_commit_same_id_ms"`
	// Of that: without the time before the process came to run, and the processor
	// time that it had. The rest it waited, for others or for a processor.
	Ran    latencies              `json:"first_commit_same_id_since_main_ms"`
	CPU    latencies              `json:"first_commit_same_id_cpu_ms"`
	Other  latencies              `json:"first_commit_other_host_ms"`
	State  string                 `json:"state"`
	Txn    int                    `json:"transaction_version"`
	Report *checker.PassageReport `json:"report"`
}

// latencies are in milliseconds.
type latencies []int64

func (l latencies) MarshalJSON() ([]byte, error) {
	if len(l) == 0 {
		return []byte("null"), nil
	}
	s := slices.Sorted(slices.Values(l))
	return json.Marshal(map[string]int64{"n": int64(len(s)), "p50": s[len(s)/2], "p99": s[len(s)*99/100], "max": s[len(s)-1]})
}

func TestKill(t *testing.T) {
	brokers := start(t, "brokers", role{Brokers: true})
	t.Cleanup(brokers.kill) // after the world's, which asks them how things stand
	w := newWorld(t, role{State: *stateFlag, Group: *groupFlag, Session: session}, *txnFlag)
	w.brokers = brokers
	line, _ := brokers.said("ready ", patience)
	w.role.Addrs = strings.Split(strings.TrimPrefix(line, "ready "), ",")
	if *txnFlag == 1 {
		must(t, checker.AgreeOnTransactions(t.Context(), w.role.Addrs, 1))
	}
	w.play(*roundsFlag)
}

func newWorld(t *testing.T, r role, txn int) *world {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	r.Dir = t.TempDir()
	again := replay(t, r, txn, seed)
	t.Log(again) // at once: a process that ends before its time prints nothing else
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), role: r, fig: figures{Rounds: map[string]int{}, State: r.State, Txn: txn}}
	t.Cleanup(func() {
		if t.Failed() {
			w.describe()
		}
		for _, h := range w.hosts {
			if h != nil {
				h.kill()
			}
			if h != nil && t.Failed() {
				t.Logf("%s:\n%s", h.name, h.log)
			}
		}
		if t.Failed() {
			t.Log(again)
		}
	})
	return w
}

// replay is the command that makes the same decisions again.
func replay(t *testing.T, r role, txn int, seed uint64) string {
	var b strings.Builder
	b.WriteString("replay: go test")
	if len(r.Addrs) > 0 { // brokers that were there before: those of Apache Kafka
		b.WriteString(" -tags kafka")
	}
	fmt.Fprintf(&b, " -count=1 -timeout 6h ./host/killtest -run '^%s$' -v -rounds %d -state %s -group %s -transactions %d -seed %d", t.Name(), *roundsFlag, r.State, *groupFlag, txn, seed)
	if *kindsFlag != "" {
		fmt.Fprintf(&b, " -kinds %q", *kindsFlag)
	}
	if testing.Short() {
		b.WriteString(" -short")
	}
	return b.String()
}

// describe tells how the group stands.
func (w *world) describe() {
	state, members, err := w.group()
	w.t.Logf("the group is %s, %v", state, err)
	for _, m := range members {
		w.t.Log("member ", m)
	}
}

// group returns the state of the hosts' group, and its members with what they have.
func (w *world) group() (state string, members []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.role.Addrs...))
	if err != nil {
		return "", nil, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	if w.role.Group == string(config.ConsumerProtocol) {
		groups, err := adm.DescribeConsumerGroups(ctx, pipelineName)
		g := groups[pipelineName]
		for _, m := range g.Members {
			members = append(members, fmt.Sprintf("%s: %v", m.MemberID, m.Assignment))
		}
		return g.State, members, cmp.Or(err, g.Err)
	}
	groups, err := adm.DescribeGroups(ctx, pipelineName)
	g := groups[pipelineName]
	for _, m := range g.Members {
		a, _ := m.Assigned.AsConsumer()
		members = append(members, fmt.Sprintf("%s: %+v", m.MemberID, a))
	}
	return g.State, members, cmp.Or(err, g.Err)
}

// settled reports whether both hosts have their partitions.
func (w *world) settled() bool {
	state, members, err := w.group()
	return err == nil && state == "Stable" && len(members) == len(w.hosts)
}

// play has hosts copy what is fed, and go through so many rounds.
func (w *world) play(rounds int) {
	t := w.t
	t.Helper()
	f := startFeed(t, w.role.Addrs, w.seed)
	for i := range w.hosts {
		w.run(i)
	}
	for _, h := range w.hosts {
		h.said("committed", patience)
	}
	for range rounds {
		w.round()
	}
	w.alive()
	must(t, f.end())
	w.drain()
	for _, h := range w.hosts {
		h.signal(syscall.SIGTERM)
		if code := h.wait(patience); code != 0 {
			t.Errorf("%s ended with %d:\n%s", h.name, code, h.log)
		}
	}
	w.judge()
}

func hostID(i int) string { return string(rune('a' + i)) }

func (w *world) run(i int) {
	r := w.role
	r.ID, r.File = hostID(i), w.files[i]
	w.hosts[i] = start(w.t, "host "+r.ID, r)
}

// round does something to a host at a random microsecond.
func (w *world) round() {
	time.Sleep(time.Duration(w.rng.IntN(400_000)) * time.Microsecond)
	w.alive()
	i := w.rng.IntN(2)
	kinds := []struct {
		name   string
		weight int
		do     func(i int)
	}{
		{"killed", 12, w.killed}, {"both_killed", 3, w.bothKilled}, {"killed_while_starting", 2, w.killedWhileStarting},
		{"asked_to_end", 2, w.askedToEnd}, {"taken_over", 1, w.takenOver}, {"stopped", 1, w.stopped}, {"replaced", 1, w.replaced},
		{"all_stopped", 1, w.allStopped},
	}
	sum := 0
	for i, k := range kinds {
		if *kindsFlag != "" && !slices.Contains(strings.Split(*kindsFlag, ","), k.name) {
			kinds[i].weight = 0
		}
		sum += kinds[i].weight
	}
	if sum == 0 {
		w.t.Fatalf("-kinds %s: there are none of these", *kindsFlag)
	}
	n := w.rng.IntN(sum)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			w.fig.Rounds[k.name]++
			w.t.Logf("round %d: host %s %s", w.done, hostID(i), k.name)
			k.do(i)
			w.done++
			return
		}
	}
}

func (w *world) pause() { time.Sleep(time.Duration(w.rng.IntN(100_000)) * time.Microsecond) }

// committed waits for a host's first commit.
func (w *world) committed(i int) firstCommit {
	w.t.Helper()
	line, d := w.hosts[i].said("committed", patience)
	c := firstCommit{wall: d}
	for j, text := range strings.Fields(line)[1:] {
		d, err := time.ParseDuration(text)
		must(w.t, err)
		*[]*time.Duration{&c.ran, &c.cpu}[j] = d
	}
	return c
}

// firstCommit is how long it took from the start of the process, from when that
// ran, and of a processor.
type firstCommit struct{ wall, ran, cpu time.Duration }

func (w *world) killed(i int) {
	w.hosts[i].kill()
	w.pause()
	w.run(i)
	c := w.committed(i)
	w.fig.Same = append(w.fig.Same, c.wall.Milliseconds())
	w.fig.Ran = append(w.fig.Ran, c.ran.Milliseconds())
	w.fig.CPU = append(w.fig.CPU, c.cpu.Milliseconds())
	if c.wall > 3*time.Second {
		w.t.Logf("%s took %v to its first commit, %v of it since it ran and %v on a processor:\n%s", w.hosts[i].name, c.wall, c.ran, c.cpu, w.hosts[i].log)
	}
}

func (w *world) bothKilled(i int) {
	w.hosts[i].kill()
	w.hosts[1-i].kill()
	w.run(i)
	w.pause()
	w.run(1 - i)
	w.committed(0)
	w.committed(1)
}

func (w *world) killedWhileStarting(i int) {
	for range 3 {
		w.hosts[i].kill()
		w.run(i)
		w.pause()
		w.pause()
	}
	w.committed(i)
}

func (w *world) askedToEnd(i int) {
	w.hosts[i].signal(syscall.SIGTERM)
	if code := w.hosts[i].wait(patience); code != 0 {
		w.t.Errorf("%s ended with %d:\n%s", w.hosts[i].name, code, w.hosts[i].log)
	}
	w.run(i)
	w.committed(i)
}

// takenOver has the other host take the partitions over. Both are members before:
// one that dies in the middle of joining is never put out by the embedded brokers.
func (w *world) takenOver(i int) {
	w.await("both hosts are members", w.settled)
	w.hosts[i].kill()
	at := time.Now()
	w.progress(w.offsets())
	w.fig.Other = append(w.fig.Other, time.Since(at).Milliseconds())
	w.run(i)
	w.committed(i) // the partitions come back
}

// stopped has a host sleep through its session.
func (w *world) stopped(i int) {
	w.hosts[i].signal(syscall.SIGSTOP)
	w.progress(w.offsets())
	w.hosts[i].signal(syscall.SIGCONT)
	w.progress(w.offsets())
}

// allStopped has the whole machine sleep, as one does that is suspended, or
// starved by others: transactions and sessions are over when it wakes, and what was
// on its way to the brokers arrives.
func (w *world) allStopped(int) {
	all := w.hosts[:]
	if w.brokers != nil {
		all = append(all[:len(all):len(all)], w.brokers)
	}
	for _, p := range all {
		p.signal(syscall.SIGSTOP)
	}
	time.Sleep(w.role.Session + w.role.Session/2)
	for _, p := range all {
		p.signal(syscall.SIGCONT)
	}
	w.progress(w.offsets())
}

// alive fails the test where a host has ended by itself. Whatever was done to it,
// it has no reason to: nobody else has its id.
func (w *world) alive() {
	w.t.Helper()
	for _, h := range w.hosts {
		if h.endedByItself() {
			w.t.Fatalf("%s ended by itself with %d:\n%s", h.name, h.wait(patience), h.log)
		}
	}
}

// replaced has another host of the same id come while the first one sleeps. The
// first one is fenced.
func (w *world) replaced(i int) {
	zombie := w.hosts[i]
	zombie.signal(syscall.SIGSTOP)
	w.t.Cleanup(zombie.kill) // a process that is stopped does not see its stdin end
	zombie.name = "zombie " + hostID(i)
	w.files[i]++ // it has its file open, and the other one is on another machine
	w.run(i)
	w.committed(i)
	zombie.signal(syscall.SIGCONT)
	if code := zombie.wait(patience); code != exitFenced {
		w.t.Errorf("%s ended with %d, not as one that is fenced:\n%s", zombie.name, code, zombie.log)
	}
}

// offsets are those that the group has committed.
func (w *world) offsets() map[int32]int64 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	at, err := checker.CommittedOffsets(ctx, w.role.Addrs, pipelineName, inTopic)
	must(w.t, err)
	return at
}

// progress waits until the group has committed more of every partition.
func (w *world) progress(before map[int32]int64) {
	w.t.Helper()
	w.await("every partition goes on", func() bool {
		now := w.offsets()
		for p := range int32(partitions) {
			if now[p] <= before[p] {
				return false
			}
		}
		return true
	})
}

func (w *world) await(what string, reached func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !reached(); time.Sleep(10 * time.Millisecond) {
		w.alive()
		if time.Now().After(end) {
			for _, h := range w.hosts {
				h.signal(syscall.SIGCONT)
				h.signal(syscall.SIGQUIT)
				w.t.Logf("%s ended with %d:\n%s", h.name, h.wait(patience), h.log)
			}
			w.t.Fatalf("%v are over before %s", patience, what)
		}
	}
}

// drain waits until all that was written is read.
func (w *world) drain() {
	w.t.Helper()
	ends, err := w.log(inTopic).Ends(context.Background())
	must(w.t, err)
	w.await("all is read", func() bool {
		now := w.offsets()
		for p, end := range ends {
			if now[p] < end {
				return false
			}
		}
		return true
	})
}

func (w *world) log(topic string) *checker.Kafka {
	return &checker.Kafka{Topic: topic, Brokers: w.role.Addrs, Made: inTopic}
}

func (w *world) judge() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	r, err := checker.JudgePassage(ctx, checker.Passage{
		In: w.log(inTopic), Out: w.log(outTopic), Dead: w.log(deadTopic), Offsets: w.offsets(),
		EpochPerTxn: w.fig.Txn == 2, Forgets: w.fig.State != "kafka", Seed: w.seed,
	})
	must(w.t, err)
	w.fig.Report = r
	text, err := json.Marshal(w.fig)
	must(w.t, err)
	fmt.Fprintln(os.Stdout, string(text))
	if err := r.Err(); err != nil {
		w.t.Error(err)
	}
	if r.Out == 0 || r.Dropped == 0 || r.DeadLettered == 0 || r.Behind > 0 {
		w.t.Errorf("%d out, %d dropped, %d dead-lettered, %d behind", r.Out, r.Dropped, r.DeadLettered, r.Behind)
	}
}
