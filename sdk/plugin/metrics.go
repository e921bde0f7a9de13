package plugin

import "github.com/klamm-io/klamm/sdk/abi"

type metric struct {
	kind int32
	name string
	id   int32 // negative: the host keeps no more of them
}

// CounterMetric is a number that only rises.
type CounterMetric struct{ m *metric }

// HistogramMetric is a distribution of observed values.
type HistogramMetric struct{ m *metric }

// Counter declares a counter. Declare metrics while the program starts or in
// OnInit, at most 64. Names are the plugin's own, in Prometheus' manner:
// "late_records_total".
func Counter(name string) CounterMetric { return CounterMetric{declare(abi.MetricCounter, name)} }

// Histogram declares a histogram.
func Histogram(name string) HistogramMetric {
	return HistogramMetric{declare(abi.MetricHistogram, name)}
}

// Inc adds one.
func (c CounterMetric) Inc() { c.Add(1) }

// Add adds delta, which must not be negative. An increment made after At(i) is
// one of record i, and counts when the verdict about record i does.
func (c CounterMetric) Add(delta int64) {
	at := recordNow()
	if n := len(samples); n > 0 && samples[n-1].m == c.m && samples[n-1].at == at {
		samples[n-1].delta += delta
		return
	}
	samples = append(samples, sample{m: c.m, at: at, delta: delta})
}

// Observe adds a value. It belongs to a record as an increment does.
func (h HistogramMetric) Observe(v float64) {
	samples = append(samples, sample{m: h.m, at: recordNow(), value: v})
}

// sample is one change of a metric, kept until the end of the call: then it is
// known which records have been judged, and a counter takes one host call
// instead of one for each record.
type sample struct {
	m     *metric
	at    int32 // the record's index, -1 for the whole call
	delta int64
	value float64
}

var (
	samples        []sample
	declareMetrics func()
	cur            *block // of the running call that judges
)

// recordNow returns the index that At was last asked for.
func recordNow() int32 {
	if cur == nil {
		return -1
	}
	return int32(cur.current)
}

func declare(kind int32, name string) *metric {
	for _, m := range reg.metrics {
		if m.name == name && m.kind == kind {
			return m
		}
	}
	if declareMetrics == nil {
		declareMetrics = defineMetrics
		atFlush = append(atFlush, flushMetrics)
	}
	m := &metric{kind: kind, name: name, id: -1}
	reg.metrics = append(reg.metrics, m)
	return m
}

func defineMetrics() {
	for _, m := range reg.metrics {
		m.id = importDefineMetric(m.kind, []byte(m.name))
	}
}

func flushMetrics(done int) bool {
	for i := range samples {
		s := &samples[i]
		if int(s.at) >= done || s.m.id < 0 || done < 0 {
			continue
		}
		if s.m.kind == abi.MetricHistogram {
			importObserveMetric(s.m.id, s.value)
			continue
		}
		if s.delta != 0 {
			importAddMetric(s.m.id, sumOf(s, samples[i:], done))
		}
	}
	samples = samples[:0]
	return true
}

// sumOf adds up what rest holds of the counter of s, and takes it out.
func sumOf(s *sample, rest []sample, done int) int64 {
	var sum int64
	for i := range rest {
		if rest[i].m == s.m && int(rest[i].at) < done {
			sum += rest[i].delta
			rest[i].delta = 0
		}
	}
	return sum
}
