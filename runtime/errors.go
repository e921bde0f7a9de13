package runtime

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrBreakerOpen is returned without a call while a plugin's circuit breaker is
// open. It is no fault.
var ErrBreakerOpen = errors.New("circuit breaker open")

// ErrClosed is returned by everything that was closed.
var ErrClosed = errors.New("closed")

// ErrNotLoaded is returned by a plugin that has no generation yet.
var ErrNotLoaded = errors.New("no module loaded")

// ErrOutdated is returned by a seat that had to move to a generation which asks
// for more than the block holds. Nothing was called: build the block anew, for
// what Seat.Generation returns then. It is no fault.
var ErrOutdated = errors.New("the block was built for an earlier generation")

// TrapError says that the guest trapped: unreachable, a memory access out of
// bounds, a division by zero, a Go panic, proc_exit. What the call did is undone.
type TrapError struct {
	Plugin string
	Export string
	Trap   string // WebAssembly's word for it, or "proc_exit(n)"
	// Stack is the guest's functions, innermost first, one a line, with " at
	// file:line" where the module has line tables; it may be empty. It is escaped.
	Stack string
	// Said is what the guest logged as an error or wrote to stderr during the call:
	// escaped lines, at most 1 KiB. Its first line is part of the error's text.
	Said string
}

func (e *TrapError) Error() string {
	return fmt.Sprintf("plugin %q: call %s: trap: %s%s", e.Plugin, e.Export, e.Trap, said(firstLine(e.Said)))
}

// DeadlineError says that a call took longer than it may. What the call did is
// undone.
type DeadlineError struct {
	Plugin string
	Export string
	Limit  time.Duration
	Stack  string // where the guest was, as in TrapError
}

func (e *DeadlineError) Error() string {
	return fmt.Sprintf("plugin %q: call %s: deadline of %s exceeded", e.Plugin, e.Export, e.Limit)
}

// VerdictError says that the guest's answer is nonsense: an unknown code, an
// offset outside of the block, an edit larger than the output limit.
type VerdictError struct {
	Plugin  string
	Export  string
	Index   int // the record's index in the block, -1 when it is no record's
	Problem string
}

func (e *VerdictError) Error() string {
	if e.Index < 0 {
		return fmt.Sprintf("plugin %q: call %s: bad answer: %s", e.Plugin, e.Export, e.Problem)
	}
	return fmt.Sprintf("plugin %q: call %s: bad verdict for record %d: %s", e.Plugin, e.Export, e.Index, e.Problem)
}

// GuestError is an error code that the guest returned from a call. What it did
// to the block is void.
type GuestError struct {
	Plugin string
	Export string
	Code   uint16
	Said   string // as in TrapError
}

func (e *GuestError) Error() string {
	return fmt.Sprintf("plugin %q: call %s: the plugin answered with error code %d%s", e.Plugin, e.Export, e.Code, said(strings.ReplaceAll(e.Said, "\n", "; ")))
}

func said(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// LoadError lists everything that keeps a module from being a plugin.
type LoadError struct {
	Name     string
	Problems []string
	Err      error // what Problems tells, where it is an error of a call; else nil
}

func (e *LoadError) Unwrap() error { return e.Err }

func (e *LoadError) Error() string {
	if len(e.Problems) == 1 {
		return fmt.Sprintf("plugin %q: %s", e.Name, e.Problems[0])
	}
	return fmt.Sprintf("plugin %q: %d problems:\n  %s", e.Name, len(e.Problems), strings.Join(e.Problems, "\n  "))
}

// IsFault reports whether err is the plugin's own failure during a call: a
// trap, a missed deadline, nonsense, an error code. The seat can be called
// again.
func IsFault(err error) bool { return FaultKind(err) != "" }

// FaultKind names a fault in metrics: trap, deadline, verdict, guest_error or
// "" when err is none. What kept a module from being loaded is none.
func FaultKind(err error) string {
	var (
		load     *LoadError
		trap     *TrapError
		deadline *DeadlineError
		verdict  *VerdictError
		guest    *GuestError
	)
	switch {
	case errors.As(err, &load):
		return ""
	case errors.As(err, &trap):
		return "trap"
	case errors.As(err, &deadline):
		return "deadline"
	case errors.As(err, &verdict):
		return "verdict"
	case errors.As(err, &guest):
		return "guest_error"
	}
	return ""
}

// StackOf returns the guest's stack where the call of an error ended, "" when it
// is not known. Its form is TrapError's.
func StackOf(err error) string {
	var trap *TrapError
	var deadline *DeadlineError
	switch {
	case errors.As(err, &trap):
		return trap.Stack
	case errors.As(err, &deadline):
		return deadline.Stack
	}
	return ""
}

// Culprit returns the index of the record that a fault is known to be about.
func Culprit(err error) (index int, ok bool) {
	var v *VerdictError
	if errors.As(err, &v) && v.Index >= 0 {
		return v.Index, true
	}
	return 0, false
}
