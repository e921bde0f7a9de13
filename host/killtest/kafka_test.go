//go:build kafka && unix

package killtest

import (
	"context"
	"testing"
	"time"

	"github.com/klamm-io/klamm/internal/kafkatest"
)

// TestApacheKill is TestKill on three brokers of Apache Kafka, which allow no
// session below 6 s. Java's consumer must find as many records.
func TestApacheKill(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	brokers := kafkatest.Three(t)
	w := newWorld(t, role{State: *stateFlag, Group: *groupFlag, Session: 6 * time.Second, Addrs: brokers.Addrs()}, 2)
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	for _, topic := range []string{inTopic, outTopic, deadTopic} {
		must(t, brokers.CreateTopic(ctx, topic, partitions, nil))
	}
	w.play(rounds)
	if t.Failed() {
		return
	}
	want := int(w.fig.Report.Out)
	got, err := brokers.Count(ctx, outTopic)
	must(t, err)
	if got != want {
		t.Errorf("Java's consumer finds %d records, the checker found %d", got, want)
	}
}
