package state_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/klamm-io/klamm/state"
	"github.com/klamm-io/klamm/state/backendtest"
)

func fileIn(dir string, maxEntries int, maxBytes int64) (state.Backend, error) {
	return state.NewFile(state.FileOptions{
		Path: filepath.Join(dir, "ids.state"), Name: "ids", MaxEntries: maxEntries, MaxBytes: maxBytes, SyncInterval: time.Hour,
	})
}

func TestFileBackend(t *testing.T) {
	backendtest.Run(t, backendtest.Kit{Open: fileIn, Reopen: fileIn})
}
