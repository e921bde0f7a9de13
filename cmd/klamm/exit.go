package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/internal/kafkaerrors"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/runtime/guard"
	"github.com/klamm-io/klamm/state"
)

// What klamm exits with.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitConfig      = 3
	exitUnreachable = 4
	exitPlugin      = 5
	exitInterrupted = 130
)

const exitCodesHelp = `Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration, 4 broker unreachable,
5 plugin failed, 130 interrupted.`

// errInterrupted is the cause of a context that Ctrl-C or SIGTERM ended.
var errInterrupted = errors.New("interrupted")

// failure is an error whose exit code, or whose mend, the command knows better
// than its cause does.
type failure struct {
	err  error
	code int    // 0: the cause's
	do   string // what to do about it; "" when err says so
	said bool   // the error was printed already
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func usagef(format string, args ...any) error {
	return &failure{err: fmt.Errorf(format, args...), code: exitUsage}
}

// todo adds what to do to an error.
func todo(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &failure{err: err, do: fmt.Sprintf(format, args...)}
}

// exitCode classes an error.
func exitCode(err error) int {
	var f *failure
	var problems *config.Problems
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &f) && f.code != 0:
		return f.code
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &problems):
		return exitConfig
	case errors.Is(err, klamm.ErrBrokerUnreachable):
		return exitUnreachable
	case pluginFailed(err):
		return exitPlugin
	}
	return exitFailed
}

func pluginFailed(err error) bool {
	var load *runtime.LoadError
	var plugin *klamm.PluginError
	return errors.As(err, &load) || errors.As(err, &plugin) || runtime.IsFault(err)
}

// report prints an error for people: what, where and why as its text has it,
// then what to do.
func (a *app) report(err error) {
	if f := (*failure)(nil); errors.As(err, &f) && f.said {
		return
	}
	red := a.colour(a.talkTerminal)
	var problems *config.Problems
	if errors.As(err, &problems) {
		problems.Render(a.talk, red)
		fmt.Fprintln(a.talk, problems.Summary())
		return
	}
	text := strings.TrimSpace(err.Error())
	if exitCode(err) == exitInterrupted && text != errInterrupted.Error() {
		// What to do about it is for who had waited longer.
		fmt.Fprintf(a.talk, "%s %v\n  until then: %s\n", paint(red, "1;31", "klamm:"), errInterrupted, strings.TrimSuffix(text, ": "+errInterrupted.Error()))
		return
	}
	fmt.Fprintf(a.talk, "%s %s\n", paint(red, "1;31", "klamm:"), text)
	if do := mend(err); do != "" {
		fmt.Fprintf(a.talk, "  to do: %s\n", do)
	}
}

// rebuildModule is what to do about a module that is none, or not ours.
const rebuildModule = "build it anew with `klamm plugin build`; `klamm plugin inspect FILE` shows what it is"

// mend is what to do about an error: what the command said, else what is known
// of the fact behind it.
func mend(err error) string {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if f, ok := e.(*failure); ok && f.do != "" {
			return f.do
		}
	}
	if e, ok := kafkaerrors.OfError(err); ok {
		return e.Do
	}
	var refused *guard.Error
	var plugin *klamm.PluginError
	switch {
	case errors.As(err, &refused):
		return rebuildModule
	case errors.Is(err, state.ErrUnavailable): // its text tells
		return ""
	case errors.Is(err, state.ErrPendingElsewhere), errors.Is(err, state.ErrCrossed):
		return "send the record again"
	case errors.As(err, &plugin) && plugin.Hook == "load":
		return fmt.Sprintf("mend [plugin.%s]; `klamm check` tells all that is wrong, each at its line", plugin.Plugin)
	case errors.As(err, &plugin) && runtime.IsFault(err):
		return fmt.Sprintf("mend the plugin, or choose by on_error in [plugin.%s] what becomes of such a record; `klamm explain` shows it alone", plugin.Plugin)
	case errors.As(err, &plugin):
		return fmt.Sprintf("mend the record, or what [plugin.%s.config] makes of it; `klamm explain` shows each plugin's step", plugin.Plugin)
	}
	return ""
}
