// Package plugin is what the author of a Klamm plugin in Go imports. It needs
// the standard library alone.
//
// A plugin registers its hooks and its settings while the program starts, and
// exports nothing itself:
//
//	var window = plugin.Duration("window", 10*plugin.Minute)
//
//	func init() { plugin.OnSend(dedup, plugin.Key) }
//
//	func dedup(b *plugin.Batch) error {
//		fresh := b.ClaimKeys(window.Get())
//		for i := range b.Len() {
//			if r := b.At(i); r.HasKey() && !fresh.Has(i) {
//				r.Drop(plugin.Duplicate)
//			}
//		}
//		return nil
//	}
//
//	func main() {}
//
// It is built to a module with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o plugin.wasm
//
// and the same source compiles natively, where a test kit plays the host.
//
// # Memory
//
// The host writes a block of records into the plugin's memory and calls a hook.
// Key, Value, Header and the other accessors return slices of that block: they
// cost no allocation and are valid only until the hook returns. Copy what is
// kept longer. A nil slice is Kafka's null, an empty one that is not nil is an
// empty byte string.
//
// # Verdicts
//
// A record that the hook says nothing about passes as it is. Edits of one record
// add up; Drop, Fail and DeadLetter end them. The edits of a call share an area
// of limited size. When it is full, the SDK tells the host how many records it
// has judged and the host calls again with the rest, so a hook can see a record
// more than once. Verdicts, metrics and puts of a record that will be seen again
// do not count, and a claim that a record already owns is answered as new. What
// a plugin keeps in its own variables it must keep so that this does no harm.
//
// # Concurrency
//
// An instance runs one call at a time on one goroutine. Nothing in this package
// may be used from another goroutine, or outside of a hook or of initialisation.
package plugin
