//go:build kafka && unix

package host_test

import (
	"testing"

	"github.com/klamm-io/klamm/internal/kafkatest"
)

func apacheKafka(t testing.TB, partitions int, topics ...string) []string {
	t.Helper()
	return kafkatest.Fresh(t, partitions, topics...).Addrs()
}
