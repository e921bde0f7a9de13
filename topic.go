package klamm

import "fmt"

// TopicNameMax is the longest name of a topic, in bytes.
const TopicNameMax = 249

// CheckTopic applies Kafka's rules for the names of topics. Its error wraps
// ErrInvalidTopic and says which rule was broken.
func CheckTopic(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidTopic)
	case name == "." || name == "..":
		return fmt.Errorf("%w: %q", ErrInvalidTopic, name)
	case len(name) > TopicNameMax:
		return fmt.Errorf("%w: %d bytes long, at most %d are allowed", ErrInvalidTopic, len(name), TopicNameMax)
	}
	for i := range len(name) {
		if c := name[i]; !topicByte(c) {
			return fmt.Errorf("%w: %q has %q; letters, digits, '.', '_' and '-' are allowed", ErrInvalidTopic, name, c)
		}
	}
	return nil
}

func topicByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}
