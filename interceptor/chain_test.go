package interceptor

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

func TestC033_ThirdFailsToOpen(t *testing.T) {
	one := &fakeSeat{onSend: func(*fakeCall) error { return nil }}
	two := &fakeSeat{onSend: func(*fakeCall) error { return nil }}
	three := Link{Name: "three", open: func(context.Context, runtime.SeatConfig) (seat, error) { return nil, errBoom }}
	c, err := NewChain(ChainConfig{Name: "c", OnSend: []Link{one.link("one"), two.link("two"), three}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.Lane(context.Background(), 0, 1)
	if err == nil || l != nil {
		t.Fatalf("got lane %v, error %v", l, err)
	}
	if !strings.Contains(err.Error(), "boom") || !strings.Contains(err.Error(), `"c"`) {
		t.Errorf("error: %v", err)
	}
	if one.closed != 1 || two.closed != 1 {
		t.Errorf("closed %d and %d times, want once each", one.closed, two.closed)
	}
}

func TestC042_ListedTwice(t *testing.T) {
	var n int
	_, err := NewChain(ChainConfig{Name: "c", OnSend: []Link{
		{Name: "mask", Native: appends("", &n)}, {Name: "mask", Native: appends("", &n)},
	}})
	if err == nil || !strings.Contains(err.Error(), `plugin "mask" is listed twice`) {
		t.Errorf("got %v", err)
	}
}

func TestNewChainReportsEveryProblem(t *testing.T) {
	var n int
	native := appends("", &n)
	many := make([]Link, 17)
	for i := range many {
		many[i] = Link{Name: fmt.Sprint(i), Native: native}
	}
	fake := &fakeSeat{onSend: func(*fakeCall) error { return nil }}
	tests := []struct {
		name string
		cfg  ChainConfig
		want []string
	}{
		{"no name", ChainConfig{OnSend: []Link{{Native: native}}}, []string{"on_send: plugin 1 has no name"}},
		{"neither", ChainConfig{OnSend: []Link{{Name: "p"}}}, []string{"give a native interceptor or a plugin"}},
		{"both", ChainConfig{OnSend: []Link{{Name: "p", Native: native, Plugin: new(runtime.Plugin)}}}, []string{"and not both"}},
		{"no hook", ChainConfig{OnSend: []Link{{Name: "p", Native: 7}}}, []string{"int implements none of"}},
		{"no dead-letter topic", ChainConfig{OnConsume: []Link{{Name: "p", Native: native, OnError: DeadLetter}}}, []string{"needs a dead_letter_topic"}},
		{"dead-letter name", ChainConfig{DeadLetterTopic: "a b", OnSend: []Link{{Name: "p", Native: native, DeadLetterTopic: ".."}}}, []string{`dead_letter_topic "a b"`, `plugin "p": dead_letter_topic ".."`}},
		{"pattern", ChainConfig{OnSend: []Link{{Name: "p", Native: native, AllowedTopics: []string{"[a"}}}}, []string{`allowed topic "[a"`}},
		{"too many", ChainConfig{OnSend: many}, []string{"17 plugins, the most is 16"}},
		{"another one", ChainConfig{OnSend: []Link{fake.link("p")}, OnAcknowledgement: []Link{{Name: "p", Native: native}}}, []string{"another one than in an earlier list"}},
		{"two at once", ChainConfig{OnSend: []Link{{Name: "p"}, {}}}, []string{"give a native", "plugin 2 has no name"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Name = "c"
			_, err := NewChain(tt.cfg)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(tt.want, `chain "c"`) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q: %v", want, err)
				}
			}
		})
	}
}

// A plugin in several lists has one instance in a lane.
func TestOneInstanceOfAPlugin(t *testing.T) {
	s := &fakeSeat{onSend: func(*fakeCall) error { return nil }, told: func(abi.Hook, *runtime.Block) error { return nil }}
	opened := 0
	link := s.link("p")
	open := link.open
	link.open = func(ctx context.Context, cfg runtime.SeatConfig) (seat, error) {
		opened++
		return open(ctx, cfg)
	}
	list := []Link{link}
	l := chainOf(t, ChainConfig{OnSend: list, OnAcknowledgement: list, OnConsume: list, OnCommit: list})
	for range 2 {
		if err := l.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if opened != 1 || s.closed != 1 {
		t.Errorf("opened %d and closed %d times, want once each", opened, s.closed)
	}
}

func TestParsePolicy(t *testing.T) {
	for _, p := range []Policy{Fail, Pass, Drop, DeadLetter} {
		if got, ok := ParsePolicy(p.String()); got != p || !ok {
			t.Errorf("%s: got %s, %t", p, got, ok)
		}
	}
	if got, ok := ParsePolicy(""); got != Fail || !ok {
		t.Errorf("empty: got %s, %t", got, ok)
	}
	if _, ok := ParsePolicy("ignore"); ok {
		t.Error("ignore is no policy")
	}
}

func TestWants(t *testing.T) {
	key := &fakeSeat{gen: &generation{number: 1, hooks: abi.OnAcknowledgement.Mask()}}
	key.gen.fields[abi.OnAcknowledgement] = abi.FieldKey
	headers := &fakeSeat{gen: &generation{number: 1, hooks: abi.OnAcknowledgement.Mask()}}
	headers.gen.fields[abi.OnAcknowledgement] = abi.FieldHeaders
	l := chainOf(t, ChainConfig{
		OnAcknowledgement: []Link{key.link("key"), headers.link("headers")},
		OnCommit:          []Link{key.link("key")},
	})
	if f, ok := l.Wants(abi.OnAcknowledgement); !ok || f != abi.FieldKey|abi.FieldHeaders {
		t.Errorf("on_acknowledgement: got %b, %t", f, ok)
	}
	if f, ok := l.Wants(abi.OnCommit); ok || f != 0 {
		t.Errorf("on_commit, which no plugin has: got %b, %t", f, ok)
	}
	if _, ok := l.Wants(abi.Partition); ok {
		t.Error("partition is no hook of a chain")
	}
	key.gen = &generation{number: 2}
	if f, _ := l.Wants(abi.OnAcknowledgement); f != abi.FieldHeaders {
		t.Errorf("after a new version without the hook: got %b", f)
	}
}
