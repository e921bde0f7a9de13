package plugin

import "github.com/klamm-io/klamm/sdk/abi"

// The batches are reused: one call runs at a time.
var (
	batch   Batch
	acks    Acks
	commits Commits
)

// atFlush are run at the end of a call with the number of records that have been
// judged for good. What needs it registers itself, so that a module imports only
// what its plugin uses.
var atFlush []func(done int) bool

// call runs a hook over the block in mem.
func call(hook abi.Hook, mem []byte) abi.CallResult {
	switch hook {
	case abi.OnAcknowledgement:
		return callAcks(mem)
	case abi.OnCommit:
		return callCommits(mem)
	}
	fn := reg.judges[hook]
	if fn == nil {
		return abi.PackCall(0, codeHook, 0)
	}
	b := &batch
	if err := b.open(hook, mem); err != nil {
		return failed(err, codeBlock)
	}
	cur = &b.block
	err := fn(b)
	cur = nil
	b.finish()
	switch {
	case err != nil:
		return failed(err, codePlugin)
	case b.refused:
		return failed(errRefused, codeRefused)
	case !flush(b.full):
		return failed(errRefused, codeRefused)
	case b.full < b.count:
		putU32(mem, abi.BatchDone, uint32(b.full))
		return abi.PackCall(b.modUsed, 0, abi.CallPartial)
	}
	return abi.PackCall(b.modUsed, 0, 0)
}

func callAcks(mem []byte) abi.CallResult {
	if reg.onAck == nil {
		return abi.PackCall(0, codeHook, 0)
	}
	if err := acks.open(abi.OnAcknowledgement, mem, abi.MagicAck); err != nil {
		return failed(err, codeBlock)
	}
	return notified(&acks.block, reg.onAck(&acks))
}

func callCommits(mem []byte) abi.CallResult {
	if reg.onCommit == nil {
		return abi.PackCall(0, codeHook, 0)
	}
	if err := commits.open(abi.OnCommit, mem, abi.MagicAck); err != nil {
		return failed(err, codeBlock)
	}
	return notified(&commits.block, reg.onCommit(&commits))
}

func notified(k *block, err error) abi.CallResult {
	if err != nil {
		return failed(err, codePlugin)
	}
	if !flush(k.count) {
		return failed(errRefused, codeRefused)
	}
	return abi.PackCall(0, 0, 0)
}

// failed tells why and forgets what the call wanted to count and put.
func failed(err error, code uint16) abi.CallResult {
	flush(-1)
	importLog(abi.LogError, []byte(err.Error()))
	return abi.PackCall(0, code, 0)
}

func flush(done int) bool {
	ok := true
	for _, f := range atFlush {
		ok = f(done) && ok
	}
	return ok
}
