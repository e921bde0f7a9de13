// Writes into each record's headers what the plugin knows of its surroundings.
package main

import (
	"strconv"

	"github.com/klamm-io/klamm/sdk/plugin"
)

var clientID string

func init() {
	plugin.OnInit(func(in *plugin.Init) error { clientID = in.ClientID; return nil })
	plugin.OnSend(describe, plugin.TopicFacts)
}

func describe(b *plugin.Batch) error {
	for i := range b.Len() {
		rec := b.At(i)
		rec.AddHeader("client", []byte(clientID))
		rec.AddHeader("partitions", []byte(strconv.Itoa(int(rec.Topic().Partitions()))))
	}
	return nil
}

func main() {}
