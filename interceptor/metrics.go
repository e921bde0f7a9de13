package interceptor

import "time"

// Metrics receives what plugins do. Its methods may be called from several
// goroutines at once and must not block.
type Metrics interface {
	// Call reports one call of a plugin. records is how many records it judged,
	// or was told of, with effect: each record counts once, however often a
	// fault made it be offered again; a faulted call has none.
	Call(plugin, hook string, records int, d time.Duration)
	// Verdict reports verdicts that took effect.
	Verdict(plugin, hook, verdict string, n int)
	// Drop reports dropped records.
	Drop(plugin, reason string, n int)
	// Fault reports a record that met the failure policy, or a call that failed
	// as a whole. kind is one of trap, deadline, verdict, guest_error, error (of
	// a native interceptor), panic, topic_refused, edit, dead_letter_unset,
	// breaker_open, unjudged and host.
	Fault(plugin, hook, kind string)
	// PluginCounter and PluginObserve report the plugin's own metrics.
	PluginCounter(plugin, name string, delta int64)
	PluginObserve(plugin, name string, v float64)
}

type noMetrics struct{}

func (noMetrics) Call(string, string, int, time.Duration) {}
func (noMetrics) Verdict(string, string, string, int)     {}
func (noMetrics) Drop(string, string, int)                {}
func (noMetrics) Fault(string, string, string)            {}
func (noMetrics) PluginCounter(string, string, int64)     {}
func (noMetrics) PluginObserve(string, string, float64)   {}
