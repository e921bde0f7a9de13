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
