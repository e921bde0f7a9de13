package klamm_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/klamm-io/klamm"
)

func TestCheckTopic(t *testing.T) {
	for _, name := range []string{"a", "orders", "A-z_0.9", "...", "..a", strings.Repeat("x", klamm.TopicNameMax)} {
		if err := klamm.CheckTopic(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, rule := range map[string]string{
		"": "empty", ".": `"."`, "..": `".."`, "a b": `' '`, "a/b": `'/'`, "a\x00": `'\x00'`, "\xc3\xa4": `'Ã'`, strings.Repeat("x", klamm.TopicNameMax+1): "250 bytes",
	} {
		if err := klamm.CheckTopic(name); !errors.Is(err, klamm.ErrInvalidTopic) || !strings.Contains(err.Error(), rule) {
			t.Errorf("%q: got %v, want the rule about %s", name, err, rule)
		}
	}
}

func TestTarget(t *testing.T) {
	var none klamm.Target
	if p, demanded := none.Partition(); demanded {
		t.Errorf("the zero value demands partition %d", p)
	}
	for _, want := range []int32{0, 1, 7, 1<<31 - 2, -1, -5} {
		if p, demanded := klamm.ToPartition(want).Partition(); p != want || !demanded {
			t.Errorf("partition %d: got %d, demanded %t", want, p, demanded)
		}
	}
}

// A caller asks what an error is; some are two things.
func TestClassOf(t *testing.T) {
	broker := func(c klamm.Code) error { return &klamm.BrokerError{Code: c} }
	for _, tt := range []struct {
		err  error
		want klamm.ErrorClass
	}{
		{nil, klamm.ClassNone},
		{errors.New("no"), klamm.ClassApplication},
		{klamm.ErrRecordTooLarge, klamm.ClassApplication},
		{klamm.ErrTransactionState, klamm.ClassApplication},
		{klamm.ErrBufferFull, klamm.ClassRetriable},
		{klamm.ErrOutcomeUnknown, klamm.ClassRetriable},
		{klamm.ErrBrokerUnreachable, klamm.ClassRetriable},
		{klamm.ErrTransactionAborted, klamm.ClassAbortable},
		{klamm.ErrDuplicatePending, klamm.ClassAbortable},
		{klamm.ErrClosed, klamm.ClassFatal},
		{klamm.ErrFenced, klamm.ClassFatal},
		{fmt.Errorf("%w, %w", klamm.ErrOutcomeUnknown, klamm.ErrFatal), klamm.ClassFatal},
		{fmt.Errorf("%w: %w", klamm.ErrTimeout, klamm.ErrAbortable), klamm.ClassAbortable},
		{broker(klamm.CodeNotLeaderForPartition), klamm.ClassRetriable},
		{broker(klamm.CodeMessageTooLarge), klamm.ClassApplication},
		{broker(klamm.CodeTransactionAbortable), klamm.ClassAbortable},
		{broker(klamm.CodeProducerFenced), klamm.ClassFatal},
		{&klamm.PluginError{Plugin: "p", Hook: "on_send", Err: errors.New("no")}, klamm.ClassApplication},
	} {
		if got := klamm.ClassOf(tt.err); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.err, got, tt.want)
		}
	}
}

func TestBrokerErrorIs(t *testing.T) {
	err := fmt.Errorf("send: %w", &klamm.BrokerError{Code: klamm.CodeUnknownTopicOrPartition, Message: "gone"})
	if !errors.Is(err, klamm.ErrUnknownTopic) || errors.Is(err, klamm.ErrInvalidTopic) {
		t.Errorf("%v is not what it should be", err)
	}
	if !errors.Is(err, &klamm.BrokerError{Code: klamm.CodeUnknownTopicOrPartition}) || errors.Is(err, &klamm.BrokerError{Code: klamm.CodeNone}) {
		t.Errorf("%v: codes are not compared", err)
	}
	if got, want := err.Error(), "send: UNKNOWN_TOPIC_OR_PARTITION (3): gone"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPluginErrorNamesThePluginOnce(t *testing.T) {
	trap := errors.New(`plugin "p": call klamm_on_send: trap: unreachable`)
	for _, tt := range []struct {
		err  error
		want string
	}{
		{trap, `plugin "p": on_send: call klamm_on_send: trap: unreachable`},
		{fmt.Errorf("again: %w", trap), `plugin "p": on_send: again: plugin "p": call klamm_on_send: trap: unreachable`},
		{errors.New(`plugin "q": no`), `plugin "p": on_send: plugin "q": no`},
		{nil, `plugin "p": on_send`},
	} {
		err := &klamm.PluginError{Plugin: "p", Hook: "on_send", Err: tt.err}
		if err.Error() != tt.want || tt.err != nil && !errors.Is(err, tt.err) {
			t.Errorf("got %q, want %q", err, tt.want)
		}
	}
}

// Names and what may be repeated, beside what another client says of each code.
func TestCodesAreKafkas(t *testing.T) {
	if got := klamm.CodeNone.Name(); got != "NONE" || klamm.CodeNone.Retriable() {
		t.Errorf("no error: %s", got)
	}
	for c := klamm.Code(-1); c < 200; c++ {
		theirs := new(kerr.Error)
		if c == klamm.CodeNone || !errors.As(kerr.ErrorForCode(int16(c)), &theirs) || theirs.Code != int16(c) {
			continue
		}
		if got := c.Name(); got != theirs.Message {
			t.Errorf("code %d: got %s, want %s", c, got, theirs.Message)
		}
		if got := c.Retriable(); got != theirs.Retriable {
			t.Errorf("%s: retriable %t, want %t", theirs.Message, got, theirs.Retriable)
		}
	}
	if got := klamm.Code(999).Name(); got != "CODE_999" {
		t.Errorf("an unknown code: got %q", got)
	}
}

func TestOutcomesHaveTheNamesOfCounts(t *testing.T) {
	for o, want := range map[klamm.Outcome]string{
		klamm.InFlight: "in_flight", klamm.Written: "out", klamm.Dropped: "dropped", klamm.DeadLettered: "dead_lettered", klamm.Failed: "failed", 9: "outcome(9)",
	} {
		if got := o.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := (klamm.Position{Topic: "t", Partition: 3, Offset: 42}).String(); got != "t/3/42" {
		t.Errorf("position: got %q", got)
	}
}
