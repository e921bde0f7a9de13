package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// newBackend is one whose records are all of partition 0.
func newBackend(t *testing.T, log *fakeLog, change func(*Options)) *Backend {
	o := Options{
		Name: "ids", Topic: "ids-topic", Pipeline: "clean", Scope: "topic", Clock: "arrival", Log: log,
		Source: func(r state.Ref) (int32, bool) { return 0, r != 0 },
	}
	if change != nil {
		change(&o)
	}
	b := New(o)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func opened(t *testing.T, log *fakeLog, partitions int32, change func(*Options)) *Backend {
	t.Helper()
	b := newBackend(t, log, change)
	if err := b.Open(within(t), partitions); err != nil {
		t.Fatal(err)
	}
	return b
}

func assign(t *testing.T, b *Backend, partition int32) {
	t.Helper()
	b.Assign(partition)
	if err := b.Await(within(t), partition); err != nil {
		t.Fatal(err)
	}
}

func testID(i int) state.ID { return state.ID{uint64(i), ^uint64(i)} }

func testAt(i int) state.Position {
	return state.Position{Topic: "clean", Partition: 2, Offset: int64(i)}
}

// remember commits ids.
func remember(t *testing.T, b *Backend, log *fakeLog, expiresMS int64, ids ...int) {
	t.Helper()
	for _, i := range ids {
		b.Stage(0, "dedup", testID(i), testAt(i), expiresMS)
	}
	next, _ := log.Commit(b.Take())
	for _, i := range ids {
		if err := b.Bucket("dedup").Remember(testID(i), testAt(i), expiresMS, 0); err != nil {
			t.Fatal(err)
		}
	}
	b.Committed(next)
}

func wantFound(t *testing.T, b *Backend, i int, want bool) {
	t.Helper()
	at, ok, err := b.Bucket("dedup").(state.SourcedBucket).FindFor(1, testID(i), 0)
	if err != nil || ok != want || ok && at != testAt(i) {
		t.Errorf("id %d: got %v, %v, %v, want %v", i, at, ok, err, want)
	}
}

func TestHostsAgreeOnTheFirstHeader(t *testing.T) {
	log := newFakeLog()
	all := make([]*Backend, 8)
	var hosts sync.WaitGroup
	for i := range all {
		all[i] = newBackend(t, log, nil)
		hosts.Go(func() {
			if err := all[i].Open(within(t), 3); err != nil {
				t.Error(err)
			}
		})
	}
	hosts.Wait()
	log.compact(0, true)
	all = append(all, opened(t, log, 3, nil))
	for _, b := range all {
		if b.Key() != all[0].Key() || b.Key() == (state.Key{}) {
			t.Fatalf("key %v, another host's %v", b.Key(), all[0].Key())
		}
	}
}

func TestRefusedTopics(t *testing.T) {
	header := func(text string) func(*fakeLog) {
		return func(l *fakeLog) { _ = l.Append(context.Background(), 0, []byte(headerMark+"x"), []byte(text)) }
	}
	for _, row := range []struct {
		name   string
		policy string
		have   int32
		fill   func(*fakeLog)
		want   string
	}{
		{"too few partitions", "compact", 2, nil, "2 partitions and the pipeline's input has 3"},
		{"deletes by time", "delete", 3, nil, `cleanup.policy is "delete"`},
		{"deletes too", "compact,delete", 3, nil, `"compact,delete", which deletes ids by the time of their writing`},
		{"of another program", "compact", 3, func(l *fakeLog) { _ = l.Append(context.Background(), 0, []byte("k"), []byte("v")) }, "another program writes to the topic"},
		{"another pipeline's", "compact", 3, func(l *fakeLog) { opened(t, l, 3, func(o *Options) { o.Pipeline = "other" }) }, `made with pipeline "other", not "clean"`},
		{"another state's", "compact", 3, func(l *fakeLog) { opened(t, l, 3, func(o *Options) { o.Name = "seen" }) }, `made with state "seen", not "ids"`},
		{"another scope", "compact", 3, func(l *fakeLog) { opened(t, l, 3, func(o *Options) { o.Scope = "state" }) }, `made with scope "state", not "topic"`},
		{"another clock", "compact", 3, func(l *fakeLog) { opened(t, l, 3, func(o *Options) { o.Clock = "record" }) }, `made with clock "record", not "arrival"`},
		{"grew with its input", "compact", 3, header(`{"format":1,"state":"ids","pipeline":"clean","scope":"topic","clock":"arrival","partitions":2,"key":"00112233445566778899aabbccddeeff"}`), "made for an input of 2 partitions, and that has 3 now"},
		{"newer format", "compact", 3, header(`{"format":2}`), "format 2: this version reads format 1"},
		{"damaged header", "compact", 3, header(`{`), "its header is damaged"},
		{"no key", "compact", 3, header(`{"format":1,"state":"ids","pipeline":"clean","scope":"topic","clock":"arrival","partitions":3,"key":"00"}`), "its header has no key"},
	} {
		t.Run(row.name, func(t *testing.T) {
			log := newFakeLog()
			_ = log.Create(context.Background(), row.have, 1, map[string]string{"cleanup.policy": row.policy})
			if row.fill != nil {
				row.fill(log)
			}
			b := newBackend(t, log, nil)
			size := log.parts[0].next
			exists, told := b.Verify(within(t), 3)
			if log.parts[0].next != size {
				t.Error("Verify has written")
			}
			err := b.Open(within(t), 3)
			if !exists || fmt.Sprint(told) != fmt.Sprint(err) {
				t.Errorf("Verify tells %v, %v, Open %v", exists, told, err)
			}
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.HasPrefix(err.Error(), `state "ids" in topic "ids-topic": `) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestVerifyMakesNothing(t *testing.T) {
	log := newFakeLog()
	b := newBackend(t, log, nil)
	if exists, err := b.Verify(within(t), 3); exists || err != nil || log.made {
		t.Errorf("without a topic: %v, %v", exists, err)
	}
	_ = log.Create(context.Background(), 3, 1, Settings())
	if exists, err := b.Verify(within(t), 3); !exists || err != nil || log.parts[0].next != 0 {
		t.Errorf("with an empty one: %v, %v", exists, err)
	}
}

func TestOpensOnceItCan(t *testing.T) {
	log := newFakeLog()
	log.late = 3
	log.err = errors.New("not now")
	b := newBackend(t, log, nil)
	if err := b.Open(within(t), 1); !errors.Is(err, log.err) {
		t.Fatal(err)
	}
	if b.Key() != (state.Key{}) {
		t.Error("a key without a topic")
	}
	log.err = nil
	if err := b.Open(within(t), 1); err != nil {
		t.Fatal(err)
	}
}

// Claims of records that no pipeline reads are refused, and so are those that
// come before the topic is known: nothing else would have their ids.
func TestClaimsWithoutASource(t *testing.T) {
	b := newBackend(t, newFakeLog(), nil)
	l := state.NewLedger(state.Options{})
	if err := l.OpenBackend("ids", b, state.StoreConfig{}); err != nil {
		t.Fatal(err)
	}
	space, err := l.Space("ids", "dedup", state.SpaceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	claim := func(ref state.Ref, want string) {
		t.Helper()
		if a := space.Claim(ref, "t", []byte("a"), 0, 0); a.Code != state.Refused || !strings.Contains(space.Refusal().Error(), want) {
			t.Errorf("got %+v, %v, want %q", a, space.Refusal(), want)
		}
	}
	claim(1, "partition 0 is not this host's")
	if err := b.Open(within(t), 1); err != nil {
		t.Fatal(err)
	}
	claim(1, "partition 0 is not this host's")
	assign(t, b, 0)
	claim(0, "not read by the pipeline that the state belongs to")
	if a := space.Claim(1, "t", []byte("a"), 0, 0); a.Code != state.New {
		t.Errorf("got %+v of an assigned partition", a)
	}
	if err := b.Bucket("dedup").Remember(testID(1), testAt(1), 0, 0); err != nil {
		t.Error(err)
	}
	wantFound(t, b, 1, false) // it was not staged: no log has it
}

func TestWindowOnRestore(t *testing.T) {
	log := newFakeLog()
	old := opened(t, log, 1, nil)
	assign(t, old, 0)
	remember(t, old, log, 1000, 1, 2, 3)
	remember(t, old, log, 0, 4, 5, 6, 7)
	at := func(ms int64) func(*Options) {
		return func(o *Options) { o.MaxEntries, o.Now = 3, func() time.Time { return time.UnixMilli(ms) } }
	}
	b := opened(t, log, 1, at(1000))
	assign(t, b, 0)
	for i := 1; i <= 7; i++ {
		wantFound(t, b, i, i >= 5)
	}
	if u := b.Bucket("dedup").Usage(); u.Entries != 3 || u.Evictions != 0 || u.Expired != 0 {
		t.Errorf("usage %+v: what went while the partition was read back counts as gone before", u)
	}
	// The next transaction buries what is out of the window, so that the topic
	// stays small.
	remember(t, b, log, 0, 8)
	log.compact(0, true)
	if n := len(log.parts[0].recs); n != 5 { // header, 5 to 8
		t.Errorf("%d records are left after a compaction, want 5", n)
	}
	record := opened(t, log, 1, func(o *Options) { at(1 << 40)(o); o.Clock, o.MaxEntries = "arrival", 10 })
	assign(t, record, 0)
	wantFound(t, record, 8, true)
}

// Under the record's clock nothing expires because it is read back late.
func TestRecordClockOnRestore(t *testing.T) {
	log := newFakeLog()
	record := func(o *Options) { o.Clock = "record" }
	old := opened(t, log, 1, record)
	assign(t, old, 0)
	remember(t, old, log, 1000, 1)
	b := opened(t, log, 1, record)
	assign(t, b, 0)
	wantFound(t, b, 1, true)
	if _, ok, err := b.Bucket("dedup").(state.SourcedBucket).FindFor(1, testID(1), 1000); ok || err != nil {
		t.Errorf("met again after its time: %v, %v", ok, err)
	}
}

// A tombstone in the log takes an id out although an older claim survived, and an
// id that is claimed again stays.
func TestTombstones(t *testing.T) {
	log := newFakeLog()
	b := opened(t, log, 1, func(o *Options) { o.MaxEntries = 1 })
	assign(t, b, 0)
	remember(t, b, log, 0, 1)
	remember(t, b, log, 0, 2) // 1 goes
	remember(t, b, log, 0, 1) // buries it, and brings it back: 2 goes
	remember(t, b, log, 0, 3)
	other := opened(t, log, 1, func(o *Options) { o.MaxEntries = 10 })
	assign(t, other, 0)
	for i, want := range map[int]bool{1: true, 2: false, 3: true} {
		wantFound(t, other, i, want)
	}
}

// The end of a restore is the end of the log: a transaction that is still open is
// waited for, whatever becomes of it.
func TestRestoreWaitsForOpenTransactions(t *testing.T) {
	log := newFakeLog()
	b := opened(t, log, 1, nil)
	txn := log.begin()
	txn.append(Write{0, keyOf(testID(1)), (&claim{plugin: "dedup", at: testAt(1)}).append(nil)})
	b.Assign(0)
	for b.Health().RestoreLag == 0 {
		time.Sleep(time.Millisecond)
	}
	if h := b.Health(); h.Restoring != 1 {
		t.Errorf("health %+v, want one partition being read", h)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Await(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("ready before the transaction ended: %v", err)
	}
	txn.committed = true
	txn.markAll()
	if err := b.Await(within(t), 0); err != nil {
		t.Fatal(err)
	}
	wantFound(t, b, 1, true)
	if h := b.Health(); h.Restored == 0 || h.RestoreTime <= 0 || h.Restoring != 0 || h.RestoreLag != 0 {
		t.Errorf("health %+v", h)
	}
}

func TestRevokeWhileRestoring(t *testing.T) {
	log := newFakeLog()
	b := opened(t, log, 1, nil)
	txn := log.begin()
	txn.append(Write{0, keyOf(testID(1)), nil})
	b.Assign(0)
	b.Revoke(0)
	if err := b.Await(within(t), 0); !errors.Is(err, errRevoked) {
		t.Errorf("got %v", err)
	}
	txn.markAll()
	assign(t, b, 0)
}

// Keep spares the reading of what is whole: here the log would wait for ever. What
// is not, since it was revoked before it was read or with ids of an open
// transaction, is read.
func TestKeep(t *testing.T) {
	log := newFakeLog()
	b := opened(t, log, 1, nil)
	assign(t, b, 0)
	remember(t, b, log, 0, 1, 2)
	b.Revoke(0)
	asked := log.asked.Load()
	open := log.begin()
	open.append(Write{0, keyOf(testID(3)), nil})
	keep := func() {
		t.Helper()
		b.Keep(0)
		if err := b.Await(within(t), 0); err != nil {
			t.Fatal(err)
		}
	}
	keep()
	if n := log.asked.Load() - asked; n != 0 {
		t.Errorf("the log was asked %d times", n)
	}
	wantFound(t, b, 1, true)
	if u := b.Bucket("dedup").Usage(); u.Entries != 2 {
		t.Errorf("usage %+v", u)
	}
	remember(t, b, log, 0, 4)
	open.markAll()

	b.Stage(0, "dedup", testID(5), testAt(5), 0)
	b.Revoke(0)
	asked = log.asked.Load()
	keep()
	if log.asked.Load() == asked {
		t.Error("a partition with ids of an open transaction was kept")
	}
	for i, want := range map[int]bool{1: true, 2: true, 3: false, 4: true, 5: false} {
		wantFound(t, b, i, want)
	}

	other := opened(t, log, 1, nil)
	other.Assign(0)
	other.Revoke(0)
	other.Keep(0)
	if err := other.Await(within(t), 0); err != nil {
		t.Fatal(err)
	}
	wantFound(t, other, 4, true)
}

func TestStandbyIsForgotten(t *testing.T) {
	log := newFakeLog()
	b := opened(t, log, 2, func(o *Options) { o.Standby = time.Nanosecond })
	assign(t, b, 0)
	remember(t, b, log, 0, 1)
	b.Revoke(0)
	if _, _, err := b.Bucket("dedup").(state.SourcedBucket).FindFor(1, testID(1), 0); err == nil {
		t.Error("found in a partition that was revoked")
	}
	parts := func() int { b.mu.Lock(); defer b.mu.Unlock(); return len(b.parts) }
	for parts() > 0 {
		time.Sleep(time.Millisecond)
	}
	assign(t, b, 0)
	wantFound(t, b, 1, true)
}

// That one partition was read back says nothing about another that was not.
func TestHealthOfEachPartition(t *testing.T) {
	log := newFakeLog()
	b := opened(t, log, 4, nil)
	assign(t, b, 0)
	for _, p := range []int32{1, 3} {
		_ = log.Append(context.Background(), p, keyOf(testID(1)), []byte("x"))
		b.Assign(p)
		if err := b.Await(within(t), p); err == nil || !strings.Contains(err.Error(), fmt.Sprint("partition ", p)) {
			t.Fatalf("got %v", err)
		}
	}
	assign(t, b, 2)
	h := b.Health()
	if h.Err == nil || !strings.Contains(h.Err.Error(), "partition 1") || !strings.Contains(h.Err.Error(), "1 more") || h.Restoring != 0 {
		t.Errorf("health %+v", h)
	}
	b.Revoke(1)
	if h := b.Health(); h.Err == nil || !strings.Contains(h.Err.Error(), "partition 3") {
		t.Errorf("health %+v", h)
	}
	b.Revoke(3)
	if h := b.Health(); h.Err != nil {
		t.Errorf("health %+v", h)
	}
}

// Whoever awaits a partition beside one that assigns and revokes it is told of
// the reading that is the last, and reads nothing that another one writes.
func TestAwaitBesideAssign(t *testing.T) {
	log := newFakeLog()
	b := opened(t, log, 1, nil)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				if err := b.Await(within(t), 0); err != nil && !errors.Is(err, errRevoked) {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		b.Assign(0)
		b.Revoke(0)
	}
	all.Wait()
	assign(t, b, 0)
}

// A topic that was deleted and made again is read from its start.
func TestTopicThatLostItsRecords(t *testing.T) {
	log := newFakeLog()
	b := opened(t, log, 1, nil)
	assign(t, b, 0)
	remember(t, b, log, 0, 1, 2, 3)
	b.Revoke(0)
	log.parts[0] = new(fakePartition)
	assign(t, b, 0)
	wantFound(t, b, 1, false)
}

func TestForeignRecordInTheMiddle(t *testing.T) {
	log := newFakeLog()
	b := opened(t, log, 1, nil)
	_ = log.Append(context.Background(), 0, keyOf(testID(1)), []byte("x"))
	b.Assign(0)
	if err := b.Await(within(t), 0); !errors.Is(err, errForeign) && !strings.Contains(fmt.Sprint(err), "format") {
		t.Errorf("got %v", err)
	}
	if b.Health().Err == nil {
		t.Error("health says nothing of it")
	}
}

func FuzzClaim(f *testing.F) {
	for _, c := range []claim{
		{plugin: "dedup", at: testAt(1), expiresMS: 1},
		{plugin: "p", at: state.Position{Partition: -1, Offset: -1}},
		{plugin: strings.Repeat("p", 200), at: state.Position{Topic: strings.Repeat("t", 249), Partition: 1<<31 - 1, Offset: 1<<63 - 2}, expiresMS: 1<<63 - 1},
	} {
		f.Add(keyOf(testID(3)), c.append(nil))
	}
	f.Add([]byte("short"), []byte{Format})
	f.Add(keyOf(testID(1)), []byte{2, 0, 0})
	f.Add(keyOf(testID(1)), []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		n := names{}
		id, c, err := n.decode(&klamm.Record{Key: key, Value: value})
		if err != nil || value == nil {
			return
		}
		again, c2, err := n.decode(&klamm.Record{Key: keyOf(id), Value: c.append(nil)})
		if err != nil || again != id || c2 != c || !bytes.Equal(keyOf(id), key) {
			t.Errorf("%v %+v was read back as %v %+v, %v", id, c, again, c2, err)
		}
	})
}

// Ids are remembered in the order in which they were staged, or in another.
func TestRememberedInAnyOrder(t *testing.T) {
	for _, order := range [][]int{{1, 2, 3, 4, 5}, {5, 4, 3, 2, 1}, {3, 1, 5, 2, 4}, {1, 3, 2, 5}, {}} {
		log := newFakeLog()
		b := opened(t, log, 1, nil)
		assign(t, b, 0)
		for i := 1; i <= 5; i++ {
			b.Stage(0, "dedup", testID(i), testAt(i), 0)
		}
		next, _ := log.Commit(b.Take())
		for _, i := range append(order, 9) { // 9 is none
			if err := b.Bucket("dedup").Remember(testID(i), testAt(i), 0, 0); err != nil {
				t.Fatal(err)
			}
			wantFound(t, b, i, i != 9)
		}
		b.Committed(next) // what was not settled is there too: the log has it
		for i := 1; i <= 5; i++ {
			wantFound(t, b, i, true)
		}
		if n := b.Bucket("dedup").Usage().Entries; n != 5 {
			t.Errorf("%v: %d ids, want 5", order, n)
		}
	}
}

// An id that somebody had forgotten, and that a transaction brought back which was
// aborted, is still forgotten.
func TestForgottenAndAborted(t *testing.T) {
	log := newFakeLog()
	b := opened(t, log, 1, nil)
	assign(t, b, 0)
	remember(t, b, log, 0, 1, 2)
	if !b.Forget("dedup", testID(1)) {
		t.Fatal("it was not there")
	}
	b.Stage(0, "dedup", testID(1), testAt(3), 0)
	b.Take()
	b.Aborted()
	remember(t, b, log, 0, 4)
	other := opened(t, log, 1, nil)
	assign(t, other, 0)
	for i, want := range map[int]bool{1: false, 2: true, 4: true} {
		wantFound(t, other, i, want)
	}
}
