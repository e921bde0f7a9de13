package interceptor

import (
	"fmt"
	"path"
	"strings"

	"github.com/klamm-io/klamm"
)

// TopicError says that a plugin changed a record to a topic that it may not
// choose. It is a klamm.ErrTopicRefused.
type TopicError struct {
	Plugin   string
	From, To string
	Problem  string
}

func (e *TopicError) Error() string {
	return fmt.Sprintf("plugin %q: change topic %q to %q: %v: %s", e.Plugin, e.From, e.To, klamm.ErrTopicRefused, e.Problem)
}

// Unwrap makes errors.Is(err, klamm.ErrTopicRefused) hold.
func (e *TopicError) Unwrap() error { return klamm.ErrTopicRefused }

// checkTopic decides whether a link may change a record from topic from, which
// the caller named origin, to topic to.
func (c *Chain) checkTopic(l *Link, origin, from, to string) error {
	if to == from || to == origin {
		return nil
	}
	problem := c.topicProblem(l, to)
	if problem == "" {
		return nil
	}
	return &TopicError{Plugin: l.Name, From: from, To: to, Problem: problem}
}

func (c *Chain) topicProblem(l *Link, to string) string {
	if problem := nameProblem(to); problem != "" {
		return problem
	}
	switch {
	case strings.HasPrefix(to, "__"):
		return "names starting with \"__\" are Kafka's own"
	case c.dead[to]:
		return "it is a dead-letter topic"
	case c.cfg.Refused != nil && c.cfg.Refused(to):
		return "it belongs to a state or is a dead-letter topic"
	}
	if l.Native != nil && len(l.AllowedTopics) == 0 {
		return ""
	}
	for _, pattern := range l.AllowedTopics {
		if ok, err := path.Match(pattern, to); ok && err == nil {
			return ""
		}
	}
	return "the plugin's list of topics does not name it; add it there if that is meant"
}

const topicNameMax = 249

// nameProblem says why Kafka allows no topic of that name, "" when it does.
func nameProblem(name string) string {
	switch {
	case name == "":
		return "a topic needs a name"
	case name == "." || name == "..":
		return "Kafka allows no topic of that name"
	case len(name) > topicNameMax:
		return fmt.Sprintf("a topic name has at most %d characters", topicNameMax)
	}
	for i := range len(name) {
		switch b := name[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '.', b == '_', b == '-':
		default:
			return "a topic name has only letters, digits, '.', '_' and '-'"
		}
	}
	return ""
}
