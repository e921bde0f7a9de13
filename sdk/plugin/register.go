package plugin

import "github.com/klamm-io/klamm/sdk/abi"

// registry is what the plugin has declared. There is one: a module is one
// plugin.
type registry struct {
	hooks    abi.HookMask
	fields   [abi.HookCount]Fields
	judges   [abi.HookCount]func(*Batch) error
	onAck    func(*Acks) error
	onCommit func(*Commits) error
	onInit   func(*Init) error
	onClose  func()
	settings []setting
	metrics  []*metric
	reasons  []string
}

var reg registry

// OnSend registers the hook that judges records before they are partitioned.
// fields is what it asks to see of them. Like all hooks it is registered while
// the program starts, or in OnInit when it depends on settings; the last
// registration counts.
func OnSend(fn func(*Batch) error, fields Fields) { judge(abi.OnSend, fn, fields) }

// OnConsume registers the hook that judges records that were fetched, before
// they are handed on.
func OnConsume(fn func(*Batch) error, fields Fields) { judge(abi.OnConsume, fn, fields) }

// Partitioner registers the hook that chooses partitions. It may Route or Fail
// a record; one without a verdict goes to the default partitioner.
func Partitioner(fn func(*Batch) error, fields Fields) { judge(abi.Partition, fn, fields) }

// OnAcknowledgement registers the hook that learns what became of each record
// that was offered to the plugin. Key, Headers and Timestamp are the fields that
// it can ask for.
func OnAcknowledgement(fn func(*Acks) error, fields Fields) {
	reg.onAck = fn
	register(abi.OnAcknowledgement, fields)
}

// OnCommit registers the hook that learns which offsets were committed.
func OnCommit(fn func(*Commits) error) {
	reg.onCommit = fn
	register(abi.OnCommit, 0)
}

// OnInit registers a function that runs when the instance starts, with the
// settings bound. What it returns keeps the plugin from being loaded.
func OnInit(fn func(*Init) error) { reg.onInit = fn }

// OnClose registers a function that runs before the instance is unloaded. It
// has 100 ms, and does not run after a fault.
func OnClose(fn func()) { reg.onClose = fn }

// end is the end of an instance.
func end() {
	if reg.onClose != nil {
		reg.onClose()
	}
}

func judge(h abi.Hook, fn func(*Batch) error, fields Fields) {
	reg.judges[h] = fn
	register(h, fields)
}

func register(h abi.Hook, fields Fields) {
	reg.hooks |= h.Mask()
	reg.fields[h] = fields
}
