// Tags each record with the version of the plugin that judged it.
package main

import "github.com/klamm-io/klamm/sdk/plugin"

func init() { plugin.OnSend(tag, plugin.Key) }

func tag(b *plugin.Batch) error {
	for i := range b.Len() {
		b.At(i).AddHeader("version", []byte("2"))
	}
	return nil
}

func main() {}
