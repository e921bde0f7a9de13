package consume

import (
	"context"
	"testing"
)

// TestReplaced: a static member asks whether another one has its place, which it
// has not while nobody has.
func TestReplaced(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	ask := func(instance, member string, generation int32) bool {
		t.Helper()
		replaced, err := Replaced(testContext(t), x.cluster, "g", instance, member, generation)
		if err != nil {
			t.Fatal(err)
		}
		return replaced
	}
	if ask("host", "m", 1) {
		t.Error("replaced in a group that is not there")
	}
	a := x.join(t, newRecorder("a"), consumerConfig(), "g", "host", "t")
	a.wait(t, "its partition", func() bool { return len(a.parts) == 1 })
	generation, member, _ := a.group.Membership()
	if ask("host", member, generation) || ask("host", member, generation-1) {
		t.Error("replaced by itself")
	}
	if ask("another", member, generation) {
		t.Error("replaced as an instance that is not there")
	}
	if !ask("host", "somebody", generation) {
		t.Error("the one that was there before is not replaced")
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if ask("host", member, generation) {
		t.Error("replaced while it is away")
	}
	if err := PutOut(testContext(t), x.cluster, "g", "host"); err != nil {
		t.Fatal(err)
	}
	if ask("host", "somebody", generation) {
		t.Error("replaced by one that has left")
	}
	gone, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := Replaced(gone, x.cluster, "g", "host", member, generation); err == nil {
		t.Error("an answer without a question")
	}
}
