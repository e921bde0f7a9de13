package host

// StateStats is one plugin's share of one state. Counters count from the start
// of the host.
type StateStats struct {
	State  string `json:"state"`
	Plugin string `json:"plugin"`

	Entries int64 `json:"entries"` // ids that are remembered
	Pending int64 `json:"pending"` // ids whose record is in flight
	Waiters int64 `json:"waiters"` // records that wait for the one they duplicate
	Values  int64 `json:"values"`  // that plugins put
	Bytes   int64 `json:"bytes"`   // of those values

	Claims        int64 `json:"claims"`         // ids asked for
	Hits          int64 `json:"hits"`           // of them, met again: confirmed or in flight
	Evictions     int64 `json:"evictions"`      // ids that went because there were too many
	Expired       int64 `json:"expired"`        // ids that went by age
	ValuesEvicted int64 `json:"values_evicted"` // values that went because they took too much
	UnknownFree   int64 `json:"unknown_released"`
	UnknownHeld   int64 `json:"unknown_held"`
	Errors        int64 `json:"errors"` // the backend could not answer, or refused
}

// HitRate is the share of claims that met their id again, 0 where none was made.
func (s StateStats) HitRate() float64 {
	if s.Claims == 0 {
		return 0
	}
	return float64(s.Hits) / float64(s.Claims)
}

func (h *Host) stateStats() []StateStats {
	var all []StateStats
	for _, st := range h.ledger.Stats() {
		all = append(all, StateStats{
			State: st.State, Plugin: st.Plugin,
			Entries: int64(st.Entries), Pending: int64(st.Pending), Waiters: int64(st.Waiters), Values: int64(st.Values), Bytes: st.Bytes,
			Claims: int64(st.Claims), Hits: int64(st.Hits + st.PendingHits), Evictions: int64(st.Evictions), Expired: int64(st.Expired),
			ValuesEvicted: int64(st.ValuesEvicted), UnknownFree: int64(st.UnknownReleased), UnknownHeld: int64(st.UnknownHeld),
			Errors: int64(st.Errors),
		})
	}
	return all
}
