package state_test

import (
	"testing"

	"github.com/klamm-io/klamm/state"
)

// open returns a ledger with one state and one plugin's space in it.
func open(tb testing.TB, cfg state.StoreConfig, o state.SpaceOptions) (*state.Ledger, *state.Space) {
	tb.Helper()
	l := state.NewLedger(state.Options{})
	if err := l.Open("ids", cfg); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l, space(tb, l, "ids", "dedup", o)
}

func space(tb testing.TB, l *state.Ledger, name, plugin string, o state.SpaceOptions) *state.Space {
	tb.Helper()
	s, err := l.Space(name, plugin, o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
