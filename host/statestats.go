package host

import (
	"path/filepath"

	"github.com/klamm-io/klamm/state"
)

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
	Errors        int64 `json:"errors"`   // the backend could not answer, or refused
	Bypassed      int64 `json:"bypassed"` // claims that passed because it was unavailable
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
			Errors: int64(st.Errors), Bypassed: int64(st.Bypassed),
		})
	}
	return all
}

// BackendStats is how the backend of a state is that outlives the process.
type BackendStats struct {
	State   string `json:"state"`
	Backend string `json:"backend"`
	Where   string `json:"where"`           // the file, or the address
	Error   string `json:"error,omitempty"` // why it cannot remember now
	Size    int64  `json:"bytes"`           // that it takes; -1: not known
	Synced  int64  `json:"synced"`          // of them, what a power cut leaves
	Behind  int64  `json:"behind"`          // bytes that are not written yet

	Failures int64 `json:"failures"`  // writes or calls that did not succeed
	Rewrites int64 `json:"rewrites"`  // of the file, without what has gone
	Cut      int64 `json:"cut_bytes"` // at the file's end when it was opened
	Lapsed   int64 `json:"lapsed"`    // claims that other hosts could have taken

	Forgotten int64 `json:"forgotten"` // confirmations and releases that other hosts never learn of

	// Of ids in Kafka: those that were read back, how long that took, and, while
	// partitions are being read back, how many and what is left of them.
	Restored       int64   `json:"restored"`
	RestoreSeconds float64 `json:"restore_seconds"`
	Restoring      int64   `json:"restoring"`
	RestoreLag     int64   `json:"restore_lag"`
}

func (h *Host) backendStats() []BackendStats {
	var all []BackendStats
	for _, b := range h.ledger.Health() {
		s := BackendStats{
			State: b.State, Backend: h.cfg.State[b.State].Backend, Where: b.Where, Size: b.Size, Synced: b.Synced, Behind: b.Behind,
			Failures: int64(b.Failures), Rewrites: int64(b.Rewrites), Cut: b.Cut, Lapsed: int64(b.Lapsed), Forgotten: int64(b.Forgotten),
			Restored: int64(b.Restored), RestoreSeconds: b.RestoreTime.Seconds(), Restoring: int64(b.Restoring), RestoreLag: b.RestoreLag,
		}
		if b.Err != nil {
			s.Error = b.Err.Error()
		}
		all = append(all, s)
	}
	return all
}

// storeConfig is [state.NAME] as the ledger wants it. A host that only checks
// keeps everything in memory: a running one may have the file open.
func (h *Host) storeConfig(name string) state.StoreConfig {
	cfg := h.cfg.State[name]
	out := state.StoreConfig{
		Backend: cfg.Backend, MaxEntries: cfg.MaxEntries, MaxBytes: int64(cfg.MaxBytes),
		ScopeTopic: cfg.Scope != "state", RecordClock: h.cfg.StateClock(name) == "record",
		Path: cfg.Path, SyncInterval: cfg.SyncInterval.Std(), Pass: cfg.OnUnavailable == "pass",
		Address: cfg.URL.Reveal(), Timeout: cfg.Timeout.Std(), Lease: cfg.Lease.Std(), Host: h.cfg.Host.ID,
	}
	if h.checkOnly {
		out.Backend = "memory"
	}
	if out.Path != "" && !filepath.IsAbs(out.Path) {
		out.Path = filepath.Join(h.baseDir, out.Path)
	}
	return out
}
