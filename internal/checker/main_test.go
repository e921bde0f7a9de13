package checker

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	beKilled() // does not return in the child of TestHistorySurvivesKill
	goleak.VerifyTestMain(m)
}
