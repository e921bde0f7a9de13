package runtime

import (
	"errors"
	"strings"
	"time"
)

// fault turns an error of the engine into one of ours. The instance is dead.
func (in *instance) fault(err error, export string, limit time.Duration) error {
	in.dead = true
	var (
		late  lateTrap
		quit  *exitTrap
		trap  *hostTrap
		fault = &TrapError{Plugin: in.cfg.Name, Export: export}
	)
	in.flush()
	fault.Said = string(in.said)
	switch {
	case errors.As(err, &late):
		return &DeadlineError{Plugin: in.cfg.Name, Export: export, Limit: limit, Stack: in.module.stackOf(err)}
	case errors.As(err, &quit):
		fault.Trap = quit.Error()
	case errors.As(err, &trap):
		fault.Trap = trap.Error()
	case in.watch.nested():
		fault.Trap = "stack overflow"
	default:
		fault.Trap = trapOf(err)
	}
	fault.Stack = in.module.stackOf(err)
	return fault
}

const (
	engineTrapPrefix = "wasm error: "
	engineStackMark  = "\nwasm stack trace:\n\t"
)

// trapOf takes WebAssembly's word for the trap out of the engine's error.
func trapOf(err error) string {
	text, _, _ := strings.Cut(err.Error(), engineStackMark)
	return strings.TrimPrefix(text, engineTrapPrefix)
}

// flush ends lines that the guest began to print.
func (in *instance) flush() {
	in.printLine(1)
	in.printLine(2)
}
