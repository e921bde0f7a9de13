package routeby_test

import (
	"strconv"
	"testing"

	"github.com/klamm-io/klamm"
	routeby "github.com/klamm-io/klamm/plugins/route-by"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/sdk/plugin"
	"github.com/klamm-io/klamm/sdk/plugintest"
)

func TestRouteBy(t *testing.T) {
	plugintest.Run(t, "builtin:route-by", plugintest.Load(t, "testdata/route-by.toml"), plugintest.Native(routeby.Register))
}

func TestReadme(t *testing.T) {
	plugintest.Readme(t, "builtin:route-by", "README.md", plugintest.Case{
		Hook:  abi.Partition,
		Facts: map[string]plugintest.Facts{plugintest.DefaultTopic: {Partitions: 12}},
	})
}

// TestShare sends many keys of several tenants: each tenant stays on its share
// of the partitions, and uses all of it.
func TestShare(t *testing.T) {
	const partitions, spread = 12, 3
	c := plugintest.Case{
		Name:   "shares",
		Hook:   abi.Partition,
		Config: map[string]any{"by": "header:tenant", "spread": spread},
		Facts:  map[string]plugintest.Facts{plugintest.DefaultTopic: {Partitions: partitions}},
	}
	used := map[string]map[int32]bool{}
	for i := range 200 {
		tenant, key := "t"+strconv.Itoa(i%4), "key-"+strconv.Itoa(i)
		c.Records = append(c.Records, klamm.Record{
			Key:     []byte(key),
			Headers: []klamm.Header{{Key: "tenant", Value: []byte(tenant)}},
		})
		home := plugin.Murmur2([]byte(tenant)) % partitions
		want := int32((home + plugin.Murmur2([]byte(key))%spread) % partitions)
		c.Want = append(c.Want, plugintest.Want{Verdict: abi.Route, Partition: want})
		if used[tenant] == nil {
			used[tenant] = map[int32]bool{}
		}
		used[tenant][want] = true
	}
	plugintest.Run(t, "builtin:route-by", []plugintest.Case{c}, plugintest.Native(routeby.Register))
	for tenant, parts := range used {
		if len(parts) != spread {
			t.Errorf("tenant %s uses %d partitions, want %d", tenant, len(parts), spread)
		}
	}
}
