//go:build !kafka

package host_test

import "testing"

// apacheKafka returns no addresses: the tests run on the embedded broker.
func apacheKafka(testing.TB, int, ...string) []string { return nil }
