package runtime

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if goCacheDir != "" {
			os.RemoveAll(goCacheDir)
		}
		os.Exit(code)
	}))
}
