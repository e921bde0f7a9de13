package cluster

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/config"
)

// changes collects what OnChange says.
type changes struct{ ch chan *Topic }

func watch(c *Cluster) *changes {
	w := &changes{make(chan *Topic, 100)}
	c.OnChange(func(t *Topic) { w.ch <- t })
	return w
}

func (w *changes) next(t *testing.T) *Topic {
	t.Helper()
	select {
	case topic := <-w.ch:
		return topic
	case <-time.After(20 * time.Second):
		t.Fatal("no change was told")
		return nil
	}
}

func TestAwaitTopicErrors(t *testing.T) {
	b := startBroker(t, config.Embedded{Topics: []string{"t"}}, broker.Options{})
	c := mustOpen(t, clusterConfig(b))
	t.Run("unknown", func(t *testing.T) {
		h := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Observe: true, Count: -1})
		defer h.Remove()
		_, err := c.AwaitTopic(testContext(t), "missing")
		if !errors.Is(err, klamm.ErrUnknownTopic) {
			t.Errorf("%v is not ErrUnknownTopic", err)
		}
		wantError(t, err, `"missing"`)
	})
	t.Run("made between the two questions", func(t *testing.T) {
		asked := make(chan struct{}, 10)
		b.Cluster().ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
			asked <- struct{}{}
			return nil, nil, false
		})
		go func() {
			<-asked
			b.Cluster().CreateTopic("late", 2, nil)
		}()
		topic, err := c.AwaitTopic(testContext(t), "late")
		if err != nil || len(topic.Partitions) != 2 {
			t.Errorf("AwaitTopic = %+v, %v", topic, err)
		}
	})
	for _, name := range []string{"", ".", "a/b", "a b", string(make([]byte, 250))} {
		if _, err := c.AwaitTopic(testContext(t), name); !errors.Is(err, klamm.ErrInvalidTopic) {
			t.Errorf("AwaitTopic(%q): %v is not ErrInvalidTopic", name, err)
		}
	}
	t.Run("refused", func(t *testing.T) {
		h := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "secret", Err: kerr.TopicAuthorizationFailed, Count: -1})
		defer h.Remove()
		_, err := c.AwaitTopic(testContext(t), "secret")
		wantError(t, err, `"secret"`, "TOPIC_AUTHORIZATION_FAILED")
	})
	t.Run("deadline", func(t *testing.T) {
		h := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "busy", Err: kerr.LeaderNotAvailable, Count: -1})
		defer h.Remove()
		err := givenUp(t, "LEADER_NOT_AVAILABLE", func(ctx context.Context) error {
			_, err := c.AwaitTopic(ctx, "busy")
			return err
		})
		if !errors.Is(err, klamm.ErrTimeout) {
			t.Errorf("%v is not ErrTimeout", err)
		}
		wantError(t, err, `"busy"`, "LEADER_NOT_AVAILABLE")
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := c.AwaitTopic(ctx, "canceled"); !errors.Is(err, context.Canceled) {
			t.Errorf("%v is not context.Canceled", err)
		}
	})
}

func TestAutoCreateFollowsConfiguration(t *testing.T) {
	b := startBroker(t, config.Embedded{Partitions: 6}, broker.Options{AutoCreateTopics: true})
	cfg := clusterConfig(b)
	c := mustOpen(t, cfg)
	if _, err := c.AwaitTopic(testContext(t), "t"); !errors.Is(err, klamm.ErrUnknownTopic) {
		t.Errorf("off: %v is not ErrUnknownTopic", err)
	}
	cfg.AllowAutoCreateTopics = true
	c = mustOpen(t, cfg)
	topic, err := c.AwaitTopic(testContext(t), "t")
	if err != nil || len(topic.Partitions) != 6 {
		t.Errorf("on: %+v, %v", topic, err)
	}
}

// TestMetadataBlip is M1: a topic that "vanishes" keeps its facts, and its
// epoch, through it (anomaly A4).
func TestMetadataBlip(t *testing.T) {
	b := startBroker(t, config.Embedded{Topics: []string{"t"}}, broker.Options{})
	c := mustOpen(t, clusterConfig(b))
	before, err := c.AwaitTopic(testContext(t), "t")
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range []kfake.Fault{
		{Topic: "t", Err: kerr.UnknownTopicOrPartition},
		{Topic: "t", Partitions: []int32{1}, Err: kerr.UnknownTopicOrPartition},
	} {
		fault.Keys, fault.Count = []kmsg.Key{kmsg.Metadata}, 3
		h := b.Cluster().Fault(fault)
		c.Refresh("t")
		if err := h.Wait(testContext(t), 1); err != nil {
			t.Fatal(err)
		}
		if fault.Partitions == nil {
			// The cluster goes on asking by itself until the topic is back.
			if err := h.Wait(testContext(t), 3); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := c.AwaitTopic(testContext(t), "t"); err != nil || got != before {
			t.Errorf("during the blip: %+v, %v; want %+v", got, err, before)
		}
		h.Remove()
	}
	waitAnswers(t, c, "t", 2)
	if got := c.Topic("t"); got != before {
		t.Errorf("after the blip: %+v, want %+v unchanged", got, before)
	}
}

// waitAnswers waits for n more answers about a topic.
func waitAnswers(t *testing.T, c *Cluster, topic string, n int) {
	t.Helper()
	for range n {
		c.mu.Lock()
		e := c.entryLocked(topic)
		answered := e.answered
		c.mu.Unlock()
		c.Refresh(topic)
		select {
		case <-answered:
		case <-time.After(20 * time.Second):
			t.Fatal("no answer")
		}
	}
}

// TestPartitionsAdded is M2.
func TestPartitionsAdded(t *testing.T) {
	b := startBroker(t, config.Embedded{Topics: []string{"t"}, Partitions: 2}, broker.Options{})
	c := mustOpen(t, clusterConfig(b))
	w := watch(c)
	before, err := c.AwaitTopic(testContext(t), "t")
	if err != nil {
		t.Fatal(err)
	}
	if got := w.next(t); got != before {
		t.Errorf("first change %+v, want %+v", got, before)
	}
	req := kmsg.NewPtrCreatePartitionsRequest()
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = "t", 5
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 5000
	req.SetVersion(3)
	conn, err := c.Dial(testContext(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	roundTrip(t, conn, req, req.ResponseKind())

	c.Refresh()
	if got := w.next(t); len(got.Partitions) != 5 || got.Epoch <= before.Epoch || got.ID != before.ID {
		t.Errorf("after adding: %+v, want 5 partitions, the same id and an epoch above %d", got, before.Epoch)
	}
}

// TestTopicRecreated is M3: the new topic has another id and nothing of the old
// one's leaders.
func TestTopicRecreated(t *testing.T) {
	b := startBroker(t, config.Embedded{Topics: []string{"t"}, Partitions: 4}, broker.Options{Brokers: 2})
	b.Cluster().MoveTopicPartition("t", 0, 0)
	b.Cluster().MoveTopicPartition("t", 0, 1)
	c := mustOpen(t, clusterConfig(b))
	w := watch(c)
	before, err := c.AwaitTopic(testContext(t), "t")
	if err != nil {
		t.Fatal(err)
	}
	w.next(t)
	if err := b.Cluster().DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	if err := b.Cluster().CreateTopic("t", 2, nil); err != nil {
		t.Fatal(err)
	}
	c.Refresh("t")
	got := w.next(t)
	if got.ID == before.ID || len(got.Partitions) != 2 || got.Epoch <= before.Epoch {
		t.Errorf("recreated: %+v, before %+v", got, before)
	}
}

func TestLeaderMoves(t *testing.T) {
	b := startBroker(t, config.Embedded{Topics: []string{"t"}, Partitions: 1}, broker.Options{Brokers: 2})
	if err := b.Cluster().MoveTopicPartition("t", 0, 0); err != nil {
		t.Fatal(err)
	}
	c := mustOpen(t, clusterConfig(b))
	w := watch(c)
	if _, err := c.AwaitTopic(testContext(t), "t"); err != nil {
		t.Fatal(err)
	}
	w.next(t)
	leader, epoch := c.Leader("t", 0)
	if leader != 0 {
		t.Fatalf("leader %d, want 0", leader)
	}
	t.Run("hint", func(t *testing.T) {
		c.SetLeader("t", 0, 1, epoch-1)
		c.SetLeader("t", 0, 1, epoch)
		if l, _ := c.Leader("t", 0); l != 0 {
			t.Error("an old hint was taken")
		}
		c.SetLeader("t", 7, 1, epoch+1)
		c.SetLeader("missing", 0, 1, epoch+1)
		c.SetLeader("t", 0, 1, epoch+1)
		if l, e := c.Leader("t", 0); l != 1 || e != epoch+1 {
			t.Errorf("leader %d epoch %d, want 1, %d", l, e, epoch+1)
		}
		if got := w.next(t); got.Partitions[0].Leader != 1 {
			t.Errorf("told %+v", got)
		}
		// The brokers still give the older epoch: the hint stays.
		waitAnswers(t, c, "t", 1)
		if l, _ := c.Leader("t", 0); l != 1 {
			t.Error("an older answer undid the hint")
		}
	})
	t.Run("metadata", func(t *testing.T) {
		for _, to := range []int32{1, 0, 1, 0} {
			if err := b.Cluster().MoveTopicPartition("t", 0, to); err != nil {
				t.Fatal(err)
			}
		}
		c.Refresh("t")
		if got := w.next(t); got.Partitions[0].Leader != 0 {
			t.Errorf("told %+v, want leader 0", got)
		}
	})
	if l, e := c.Leader("t", 9); l != -1 || e != -1 {
		t.Errorf("leader of a partition that is not there: %d, %d", l, e)
	}
	if l, _ := c.Leader("missing", 0); l != -1 {
		t.Errorf("leader of a topic that is not known: %d", l)
	}
}

func TestRefreshIsCoalesced(t *testing.T) {
	b := startBroker(t, config.Embedded{Topics: []string{"t", "u"}}, broker.Options{})
	c := mustOpen(t, clusterConfig(b))
	for _, name := range []string{"t", "u"} {
		if _, err := c.AwaitTopic(testContext(t), name); err != nil {
			t.Fatal(err)
		}
	}
	h := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "t", Observe: true, Count: -1})
	defer h.Remove()
	start := time.Now()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				c.Refresh("t", "u")
			}
		})
	}
	wg.Wait()
	waitAnswers(t, c, "t", 3)
	most := int(time.Since(start)/(refreshBackoff*8/10)) + 3
	if h.Hits() > most {
		t.Errorf("1600 calls of Refresh made %d requests, want at most %d", h.Hits(), most)
	}
}

func TestWatchEnds(t *testing.T) {
	b := startBroker(t, config.Embedded{Topics: []string{"t", "u"}}, broker.Options{})
	c := mustOpen(t, clusterConfig(b))
	told := make(chan string, 10)
	stop := c.Watch(func(topic *Topic) { told <- topic.Name })
	w := watch(c)
	for _, name := range []string{"t", "u"} {
		if _, err := c.AwaitTopic(testContext(t), name); err != nil {
			t.Fatal(err)
		}
		w.next(t)
		if name == "t" {
			<-told
			stop()
		}
	}
	// The two functions are called one after the other for each change.
	waitAnswers(t, c, "t", 1)
	if len(told) > 0 {
		t.Errorf("told of %q after stop", <-told)
	}
}

func TestMetadataMaxAge(t *testing.T) {
	b := startBroker(t, config.Embedded{Topics: []string{"t"}, Partitions: 1}, broker.Options{})
	cfg := clusterConfig(b)
	cfg.MetadataMaxAge = config.Duration(50 * time.Millisecond)
	c := mustOpen(t, cfg)
	if _, err := c.AwaitTopic(testContext(t), "t"); err != nil {
		t.Fatal(err)
	}
	h := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "t", Observe: true, Count: -1})
	defer h.Remove()
	if err := h.Wait(testContext(t), 3); err != nil {
		t.Errorf("no requests without Refresh: %v", err)
	}
}

// TestBrokerLost has the broker that is asked for metadata go away.
func TestBrokerLost(t *testing.T) {
	b := startBroker(t, config.Embedded{Topics: []string{"t"}, Partitions: 3}, broker.Options{Brokers: 3})
	cfg := clusterConfig(b)
	cfg.BootstrapServers = b.Addrs()[:1]
	c := mustOpen(t, cfg)
	if _, err := c.AwaitTopic(testContext(t), "t"); err != nil {
		t.Fatal(err)
	}
	if err := b.Cluster().RemoveNode(0); err != nil {
		t.Fatal(err)
	}
	if err := b.Cluster().CreateTopic("u", 1, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AwaitTopic(testContext(t), "u"); err != nil {
		t.Errorf("after the bootstrap server is gone: %v", err)
	}
}

// givenUp is the error of a call whose time is over. On a busy machine it gets more
// of it, until it has heard why it was waiting.
func givenUp(t *testing.T, why string, call func(context.Context) error) error {
	t.Helper()
	for limit := time.Second; ; limit *= 2 {
		ctx, cancel := context.WithTimeout(testContext(t), limit)
		err := call(ctx)
		cancel()
		if err == nil || strings.Contains(err.Error(), why) || limit > time.Minute {
			return err
		}
	}
}

func TestAllBrokersLost(t *testing.T) {
	b := startBroker(t, config.Embedded{Topics: []string{"t"}}, broker.Options{})
	c := mustOpen(t, clusterConfig(b))
	known, err := c.AwaitTopic(testContext(t), "t")
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	err = givenUp(t, "nothing listens there", func(ctx context.Context) error {
		_, err := c.AwaitTopic(ctx, "u")
		return err
	})
	if !errors.Is(err, klamm.ErrTimeout) || !errors.Is(err, klamm.ErrBrokerUnreachable) {
		t.Errorf("%v is not ErrTimeout for ErrBrokerUnreachable", err)
	}
	wantError(t, err, b.Addrs()[0], "nothing listens there")
	if c.Topic("t") != known {
		t.Error("what was known of another topic is gone")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, _, err := c.InitProducerID(ctx, "", 0, -1, -1); !errors.Is(err, klamm.ErrTimeout) {
		t.Errorf("InitProducerID: %v is not ErrTimeout", err)
	}
}

func TestMerge(t *testing.T) {
	id := [16]byte{1}
	part := func(n, leader, epoch int32, err sarama.KError) *sarama.PartitionMetadata {
		return &sarama.PartitionMetadata{ID: n, Leader: leader, LeaderEpoch: epoch, Err: err}
	}
	answer := func(id [16]byte, ps ...*sarama.PartitionMetadata) *sarama.TopicMetadata {
		return &sarama.TopicMetadata{Name: "t", Uuid: id, Partitions: ps}
	}
	old := &Topic{Name: "t", ID: id, Epoch: 3, Partitions: []Partition{{1, 5}, {2, 5}}}
	tests := []struct {
		name   string
		old    *Topic
		answer *sarama.TopicMetadata
		want   *Topic
	}{
		{"first", nil, answer(id, part(1, 2, 0, 0), part(0, 1, 0, 0)),
			&Topic{Name: "t", ID: id, Epoch: 1, Partitions: []Partition{{1, 0}, {2, 0}}}},
		{"gap", nil, answer(id, part(1, 2, 0, 0)),
			&Topic{Name: "t", ID: id, Epoch: 1, Partitions: []Partition{{-1, -1}, {2, 0}}}},
		{"no news", old, answer(id, part(0, 1, 5, 0), part(1, 2, 5, 0)), old},
		{"older epoch", old, answer(id, part(0, 9, 4, 0), part(1, 2, 5, 0)), old},
		{"fewer partitions", old, answer(id, part(0, 1, 5, 0)), old},
		{"newer epoch", old, answer(id, part(0, 9, 6, 0), part(1, 2, 5, 0)),
			&Topic{Name: "t", ID: id, Epoch: 4, Partitions: []Partition{{9, 6}, {2, 5}}}},
		{"no leader", old, answer(id, part(0, -1, 6, sarama.ErrLeaderNotAvailable), part(1, 2, 5, 0)),
			&Topic{Name: "t", ID: id, Epoch: 4, Partitions: []Partition{{-1, 6}, {2, 5}}}},
		{"replica missing", old, answer(id, part(0, 1, 5, sarama.ErrReplicaNotAvailable), part(1, 2, 5, 0)), old},
		{"partition unknown", old, answer(id, part(0, 0, -1, sarama.ErrUnknownTopicOrPartition), part(1, 2, 5, 0)), old},
		{"another id", old, answer([16]byte{2}, part(0, 7, 0, 0)),
			&Topic{Name: "t", ID: [16]byte{2}, Epoch: 4, Partitions: []Partition{{7, 0}}}},
		{"hostile partition", old, answer(id, part(maxPartitions, 1, 1, 0)), nil},
		{"negative partition", old, answer(id, part(-1, 1, 1, 0)), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := merge(tt.old, tt.answer)
			if (err != nil) != (tt.want == nil) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(Topic{})); diff != "" {
				t.Errorf("merge (-want +got):\n%s", diff)
			}
		})
	}
}

// TestForgottenTopic lets time pass: a topic that stays unknown is deleted.
func TestForgottenTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Cluster{settings: &settings{}, entries: make(map[string]*entry), log: discard}
		c.topics.Store(&map[string]*Topic{})
		e := c.entryLocked("t")
		c.publishLocked(e, &Topic{Name: "t", Epoch: 1, Partitions: []Partition{{1, 1}}})
		for range 29 {
			c.answerLocked(e, nil, nil)
			time.Sleep(time.Second)
			if c.Topic("t") == nil || !e.wanted {
				t.Fatalf("topic dropped, or not asked for (%v), after %v", e.wanted, time.Since(e.unknownSince))
			}
		}
		time.Sleep(time.Second)
		c.answerLocked(e, nil, nil)
		if c.Topic("t") != nil {
			t.Error("topic that has been unknown for 30s is still there")
		}
	})
}

func TestBackoff(t *testing.T) {
	if d := backoff(0); d != 0 {
		t.Errorf("backoff(0) = %v", d)
	}
	for n, want := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 4: 800 * time.Millisecond, 5: time.Second, 1 << 20: time.Second} {
		if d := backoff(n); d < want*8/10 || d > want*12/10 {
			t.Errorf("backoff(%d) = %v, want %v +- 20%%", n, d, want)
		}
	}
}
