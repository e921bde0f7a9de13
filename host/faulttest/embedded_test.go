//go:build !kafka

package faulttest

import (
	"testing"
	"time"

	"github.com/klamm-io/klamm/internal/checker/trial"
)

// What the tests run on: embedded brokers, or with the build tag kafka those of
// Apache Kafka.
const (
	patience = time.Minute
	atOnce   = "6"
	slower   = 1 // are brokers than embedded ones
)

func place(*testing.T, *trial.Options) {}

func shuffle(tr *trial.Trial) { tr.Kafka.ShufflePartitionLeaders() }
