package interceptor

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

// Policy says what becomes of a record that its plugin could not judge.
type Policy uint8

const (
	// Fail completes the record with an error. It is the default.
	Fail Policy = iota
	// Pass goes on with the last good version, as Kafka's clients do.
	Pass
	// Drop drops the record.
	Drop
	// DeadLetter sends the last good version to the dead-letter topic.
	DeadLetter
)

var policyNames = [...]string{"fail", "pass", "drop", "dead_letter"}

// String returns the policy's name in the configuration.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// ParsePolicy returns the policy of that name; "" is the default.
func ParsePolicy(name string) (Policy, bool) {
	for i, n := range policyNames {
		if n == name {
			return Policy(i), true
		}
	}
	return Fail, name == ""
}

// DefaultTimeout is how long a call may take where Link.Timeout says nothing.
const DefaultTimeout = 50 * time.Millisecond

// Link is a plugin's place in the list of a hook. In the lists of one chain the
// same Name stands for the same plugin, with the same settings.
type Link struct {
	Name string
	// Native or Plugin is set, not both. Native implements at least one of
	// OnSender, OnAcknowledger, OnConsumer and OnCommitter.
	Native any
	Plugin *runtime.Plugin

	OnError Policy
	// DeadLetterTopic is where the plugin's dead letters go. Default: the
	// chain's.
	DeadLetterTopic string
	// AllowedTopics are the topics, exact or with * and ?, that the plugin may
	// change a record to. The topic that the caller named is always allowed;
	// names starting with "__", dead-letter topics and those that
	// ChainConfig.Refused names never are. A Native one with an empty list may
	// choose any other topic.
	AllowedTopics []string
	// Space is where the plugin's claims and values are kept. Nil grants none.
	Space *state.Space
	// Timeout is the plugin's call deadline. The search for the record that made
	// a call fail takes at most twice that. Default: DefaultTimeout.
	Timeout time.Duration

	open func(ctx context.Context, cfg runtime.SeatConfig) (seat, error) // tests
}

func (l *Link) timeout() time.Duration {
	if l.Timeout > 0 {
		return l.Timeout
	}
	return DefaultTimeout
}

func (l *Link) problems(hook abi.Hook, chainDeadLetter string) error {
	var errs []error
	kinds := 0
	for _, is := range [...]bool{l.Native != nil, l.Plugin != nil, l.open != nil} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		errs = append(errs, errors.New("give a native interceptor or a plugin, and not both"))
	}
	if l.Native != nil && !implementsAny(l.Native) {
		errs = append(errs, fmt.Errorf("%T implements none of OnSender, OnAcknowledger, OnConsumer, OnCommitter", l.Native))
	}
	judges := hook == abi.OnSend || hook == abi.OnConsume
	if judges && l.OnError == DeadLetter && l.DeadLetterTopic == "" && chainDeadLetter == "" {
		errs = append(errs, errors.New("on_error = \"dead_letter\" needs a dead_letter_topic, of the plugin or of its chain"))
	}
	for _, pattern := range l.AllowedTopics {
		if _, err := path.Match(pattern, ""); err != nil {
			errs = append(errs, fmt.Errorf("allowed topic %q: %w", pattern, err))
		}
	}
	return errors.Join(errs...)
}

func implementsAny(native any) bool {
	switch native.(type) {
	case OnSender, OnAcknowledger, OnConsumer, OnCommitter:
		return true
	}
	return false
}
