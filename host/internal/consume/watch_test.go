package consume

import (
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
)

// A Watch looks for the coordinator once, and again when that has moved.
func TestWatch(t *testing.T) {
	x := newBench(t, 2, 3, "t")
	ctx := testContext(t)
	a, b := klamm.TopicPartition{Topic: "t", Partition: 0}, klamm.TopicPartition{Topic: "t", Partition: 1}
	if err := CommitNoted(ctx, x.cluster, "g", map[klamm.TopicPartition]Noted{a: {Offset: 3}}); err != nil {
		t.Fatal(err)
	}
	var looked atomic.Int32
	x.Cluster(t).ControlKey(int16(kmsg.FindCoordinator), func(kmsg.Request) (kmsg.Response, error, bool) {
		x.Cluster(t).KeepControl()
		looked.Add(1)
		return nil, nil, false
	})
	w := NewWatch(x.cluster, "g")
	defer w.Close()
	ask := func() error {
		at, err := w.Committed(ctx, []klamm.TopicPartition{a, b})
		if err == nil && (len(at) != 1 || at[a] != 3) {
			t.Fatalf("got %v", at)
		}
		return err
	}
	for range 5 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	if n := looked.Load(); n != 1 {
		t.Errorf("it looked for the coordinator %d times", n)
	}
	for moved := false; !moved; {
		x.Cluster(t).RehashCoordinators()
		moved = ask() != nil
	}
	for ask() != nil {
		if ctx.Err() != nil {
			t.Fatal("it does not find the coordinator again")
		}
	}
	if n := looked.Load(); n < 2 {
		t.Errorf("it looked for the coordinator %d times", n)
	}
}
