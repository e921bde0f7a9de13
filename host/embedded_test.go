//go:build !kafka

package host_test

import "testing"

// apacheKafka returns no addresses: the tests run on the embedded broker.
func apacheKafka(*testing.T, int, ...string) []string { return nil }
