// Command goguest is a plugin that does what a record's key says. Tests of the
// sandbox build it with the Go toolchain.
package main

import (
	"os"
	"strings"
	"time"

	"github.com/klamm-io/klamm/sdk/plugin"
)

var (
	greeting = plugin.String("greeting", "hello")
	seen     = plugin.Counter("seen_total")
	hoard    [][]byte
	counted  = map[string]int{"count": 0} // by key
)

func init() {
	plugin.OnSend(act, plugin.Key|plugin.Value|plugin.Headers)
	plugin.OnAcknowledgement(func(a *plugin.Acks) error { return nil }, 0)
}

func act(b *plugin.Batch) error {
	for i, r := range b.All() {
		seen.Inc()
		switch string(r.Key()) {
		case "count":
			counted["count"]++
			r.Route(uint32(counted["count"]))
		case "panic":
			panic("record " + string(rune('0'+i)))
		case "exit":
			os.Exit(3)
		case "spin":
			for {
			}
		case "sleep":
			time.Sleep(time.Hour)
		case "hoard":
			for {
				hoard = append(hoard, make([]byte, 1<<20))
			}
		case "garbage":
			for range 200 {
				hoard = [][]byte{make([]byte, 1<<20)}
			}
		case "print":
			os.Stdout.WriteString(greeting.Get() + "\n")
		case "grow":
			r.SetValue([]byte(strings.Repeat("x", 100_000)))
		case "header":
			r.AddHeader("greeting", []byte(greeting.Get()))
		case "upper":
			r.SetValue([]byte(strings.ToUpper(string(r.Value()))))
		}
	}
	return nil
}

func main() {}
