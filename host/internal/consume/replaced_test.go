package consume

import (
	"context"
	"errors"
	"testing"

	"github.com/klamm-io/klamm/internal/config"
)

// A static member asks whether another one has its place, which it has not while
// nobody has.
func TestReplaced(t *testing.T) {
	for kind, cfg := range kinds("sticky", "consumer") {
		t.Run(kind, func(t *testing.T) { testReplaced(t, cfg) })
	}
}

func testReplaced(t *testing.T, cfg config.Consumer) {
	x := newBench(t, 1, 1, "t")
	ask := func(m *member, want bool, when string) {
		t.Helper()
		if replaced, err := m.group.Replaced(testContext(t)); err != nil || replaced != want {
			t.Errorf("%s: replaced %t, %v", when, replaced, err)
		}
	}
	a := x.join(t, newRecorder("a"), cfg, "g", "host", "t")
	a.wait(t, "its partition", func() bool { return len(a.parts) == 1 })
	ask(a, false, "while it is there")
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	ask(a, false, "while it is away")

	b := x.join(t, newRecorder("b"), cfg, "g", "host", "t")
	b.wait(t, "the partition", func() bool { return len(b.parts) == 1 })
	ask(a, true, "the one before")
	ask(b, false, "the one after")
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	if err := b.group.Leave(testContext(t)); err != nil {
		t.Fatal(err)
	}
	ask(a, false, "after the other one has left")

	gone, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := a.group.Replaced(gone); err == nil {
		t.Error("an answer without a question")
	}
	never, err := NewGroup(x.cluster, &cfg, "g", "host", []string{"t"}, newRecorder("never"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := never.Replaced(testContext(t)); !errors.Is(err, errNeverJoined) {
		t.Errorf("one that never joined: %v", err)
	}
	nameless, err := NewGroup(x.cluster, &cfg, "g", "", []string{"t"}, newRecorder("nameless"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nameless.Replaced(testContext(t)); err == nil {
		t.Error("a place without a name")
	}
}
