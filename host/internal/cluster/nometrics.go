package cluster

import "github.com/rcrowley/go-metrics"

// noMetrics is a registry whose metrics do nothing. sarama's own cost a
// goroutine for the life of the process and two locks a request; what is worth
// counting is counted by Klamm.
type noMetrics struct{}

var _ metrics.Registry = noMetrics{}

func (noMetrics) GetOrRegister(_ string, lazy any) any {
	switch lazy.(type) {
	case func() metrics.Counter:
		return metrics.NilCounter{}
	case func() metrics.Meter:
		return metrics.NilMeter{}
	case func() metrics.Histogram:
		return metrics.NilHistogram{}
	case func() metrics.Gauge:
		return metrics.NilGauge{}
	case func() metrics.Timer:
		return metrics.NilTimer{}
	}
	return lazy
}

func (noMetrics) Each(func(string, any))            {}
func (noMetrics) Get(string) any                    { return nil }
func (noMetrics) GetAll() map[string]map[string]any { return nil }
func (noMetrics) Register(string, any) error        { return nil }
func (noMetrics) RunHealthchecks()                  {}
func (noMetrics) Unregister(string)                 {}
func (noMetrics) UnregisterAll()                    {}
