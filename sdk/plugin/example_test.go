package plugin_test

import (
	"fmt"

	"github.com/klamm-io/klamm/sdk/plugin"
)

func ExampleFindJSON() {
	path, err := plugin.ParsePath("properties.net")
	if err != nil {
		panic(err)
	}
	quake := []byte(`{"id":"uw61345682","properties":{"net":"uw","mag":0.31}}`)
	raw, ok, err := plugin.FindJSON(quake, path)
	fmt.Println(string(raw), ok, err)
	_, _, err = plugin.FindJSON(quake[:20], path)
	fmt.Println(err)
	// Output:
	// "uw" true <nil>
	// not JSON at byte 20: a string does not end
}

func ExampleMurmur2() {
	const partitions = 12
	fmt.Println(plugin.Murmur2([]byte("uw61345682")) % partitions)
	// Output: 4
}

// A partitioner keeps each tenant, whose name is in a header, on four of the
// partitions, and its keys each on one of those. In the configuration a chain has
// it as partitioner = "NAME".
func ExamplePartitioner() {
	spread := plugin.Int("spread", 4).Check(plugin.Positive)
	plugin.Partitioner(func(b *plugin.Batch) error {
		for _, r := range b.All() {
			tenant, ok := r.Header("tenant")
			if !ok {
				continue // no verdict: the default partitioner decides
			}
			n := r.Topic().Partitions()
			home := plugin.Murmur2(tenant) % n
			r.Route((home + plugin.Murmur2(r.Key())%uint32(spread.Get())) % n)
		}
		return nil
	}, plugin.Key|plugin.Headers|plugin.TopicFacts)
}

// Acknowledgements tell what became of each record that was offered to the
// plugin. Metrics are the plugin's own.
func ExampleOnAcknowledgement() {
	failed := plugin.Counter("orders_failed_total")
	latency := plugin.Histogram("orders_latency_seconds")
	plugin.OnAcknowledgement(func(acks *plugin.Acks) error {
		for i := range acks.Len() {
			switch a := acks.At(i); {
			case a.Err() != 0:
				failed.Inc()
			case !a.Dropped():
				latency.Observe(a.Latency().Seconds())
			}
		}
		return nil
	}, 0)
}
