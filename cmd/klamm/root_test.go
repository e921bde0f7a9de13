package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/runtime/guard"
	"github.com/klamm-io/klamm/state"
)

func TestUsageErrors(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"unknown command", []string{"prodcue"}, []string{`unknown command "klamm prodcue"`, `did you mean "produce"?`}},
		{"unknown command, nothing near", []string{"zzz"}, []string{`unknown command "klamm zzz"`, "there are bench, broker, check"}},
		{"unknown subcommand", []string{"topic", "lits"}, []string{`unknown command "klamm topic lits"`, `did you mean "list"?`}},
		{"unknown flag", []string{"version", "--ouput", "json"}, []string{`unknown flag "--ouput"`, `did you mean "--output"?`, "klamm version --help"}},
		{"unknown short flag", []string{"version", "-z"}, []string{`unknown flag "-z"`}},
		{"flag without value", []string{"version", "--output"}, []string{"flag needs an argument"}},
		{"bad output", []string{"version", "--output", "yaml"}, []string{`--output "yaml": there are table and json`}},
		{"too many arguments", []string{"version", "x"}, []string{`"x" is one argument too many`}},
		{"missing argument", []string{"produce"}, []string{"TOPIC is missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := klammRun(t, tt.args...).want(t, exitUsage).wantTalk(t, tt.want...)
			if r.out != "" {
				t.Errorf("stdout has %q", r.out)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"topic"}, {"plugin", "--help"}} {
		r := klammRun(t, args...).want(t, exitOK).wantOut(t, "Usage:")
		if r.talk != "" {
			t.Errorf("%q: stderr has %q", args, r.talk)
		}
	}
	klammRun(t).wantOut(t, "Exit codes: 0 ok")
}

// TestEveryCommandHasExamples: --help shows how, for each command.
func TestEveryCommandHasExamples(t *testing.T) {
	root := (&app{streams: testStreams(nil, nil, nil)}).root()
	commands := root.Commands()
	for _, group := range []string{"topic", "plugin"} {
		c, _, err := root.Find([]string{group})
		if err != nil {
			t.Fatal(err)
		}
		commands = append(commands, c.Commands()...)
	}
	for _, c := range commands {
		switch c.Name() {
		case "version", "topic", "plugin", "completion", "help":
			continue
		}
		if n := strings.Count(c.Example, "klamm "); n < 2 {
			t.Errorf("klamm %s: %d examples, want at least 2", c.Name(), n)
		}
	}
}

func TestVersion(t *testing.T) {
	klammRun(t, "version").want(t, exitOK).wantOut(t, "klamm ", "plugin ABI 1.0")
	v := klammRun(t, "version", "--output", "json").want(t, exitOK).json(t)
	if v["schema"] != "klamm.version/1" || v["abi"] != "1.0" {
		t.Errorf("got %v", v)
	}
	klammRun(t, "--version").want(t, exitOK).wantOut(t, "klamm ")
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		klammRun(t, "completion", shell).want(t, exitOK).wantOut(t, "klamm")
	}
	klammRun(t, "__complete", "errors", "NOT_LEADER").want(t, exitOK).wantOut(t, "NOT_LEADER_FOR_PARTITION")
}

func TestExitCode(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"nil", nil, exitOK},
		{"other", errors.New("x"), exitFailed},
		{"usage, wrapped", fmt.Errorf("a: %w", usagef("b")), exitUsage},
		{"unreachable", fmt.Errorf("a: %w", klamm.ErrBrokerUnreachable), exitUnreachable},
		{"plugin", &klamm.PluginError{Plugin: "p", Hook: "on_send", Err: errors.New("x")}, exitPlugin},
		{"interrupted", fmt.Errorf("a: %w", errInterrupted), exitInterrupted},
		{"advice keeps the code", todo(klamm.ErrBrokerUnreachable, "do"), exitUnreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := exitCode(tt.err); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// TestMendsPlugins: what a plugin did to a record has a way out too, and a record
// is told to be mended only where one is what is wrong.
func TestMendsPlugins(t *testing.T) {
	tests := []struct {
		name, hook string
		err        error
		want       []string // none: the error's own text says it
	}{
		{"refused by it", "on_send", errors.New("no id"), []string{"mend the record", "[plugin.p.config]", "klamm explain"}},
		{"broken", "on_send", &runtime.TrapError{}, []string{"on_error in [plugin.p]", "klamm explain"}},
		{"not there", "load", errors.New(`module "gone.wasm": nothing is there`), []string{"mend [plugin.p]", "klamm check"}},
		{"refused at the start", "load", &runtime.LoadError{Name: "p", Problems: []string{"x"}}, []string{"mend [plugin.p]", "klamm check"}},
		{"broken at the start", "load", &runtime.LoadError{Name: "p", Err: &runtime.GuestError{}}, []string{"mend [plugin.p]", "klamm check"}},
		{"no module at all", "load", &guard.Error{}, []string{"klamm plugin build"}},
		{"id in flight elsewhere", "on_send", fmt.Errorf("state: %w", state.ErrPendingElsewhere), []string{"send the record again"}},
		{"id of a crossed pair", "on_send", state.ErrCrossed, []string{"send the record again"}},
		{"state away", "on_send", fmt.Errorf("redis at x: %w: mend it", state.ErrUnavailable), nil},
	}
	for _, tt := range tests {
		got := mend(fmt.Errorf("1 of 1 records failed: %w", &klamm.PluginError{Plugin: "p", Hook: tt.hook, Err: tt.err}))
		if len(tt.want) == 0 && got != "" {
			t.Errorf("%s: %q, want nothing", tt.name, got)
		}
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q, want %q", tt.name, got, want)
			}
		}
		if tt.name != "refused by it" && strings.Contains(got, "mend the record") {
			t.Errorf("%s: %q, and no record is wrong", tt.name, got)
		}
	}
}

// TestInterruptedIsSaidOfInterrupts: what was called off within is a failure that
// nobody asked for.
func TestInterruptedIsSaidOfInterrupts(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string
		code int
	}{
		{"called off within", fmt.Errorf("ask broker 1: %w", context.Canceled), "klamm: ask broker 1: context canceled\n", exitFailed},
		{"interrupted", errInterrupted, "klamm: interrupted\n", exitInterrupted},
		{"interrupted while waiting", fmt.Errorf("no broker: %w", errInterrupted), "klamm: interrupted\n  until then: no broker\n", exitInterrupted},
	} {
		talk := newOutput()
		(&app{streams: testStreams(strings.NewReader(""), newOutput(), talk)}).report(tt.err)
		if got, code := talk.String(), exitCode(tt.err); got != tt.want || code != tt.code {
			t.Errorf("%s: %q, exit code %d", tt.name, got, code)
		}
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "ab", 1}, {"kitten", "sitting", 3}, {"", "ab", 2}, {"ca", "abc", 3},
	}
	for _, tt := range tests {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestColourOnlyForPeople(t *testing.T) {
	s := testStreams(strings.NewReader(""), newOutput(), newOutput())
	s.talkTerminal = true
	a := &app{streams: s}
	if !a.colour(true) || a.colour(false) {
		t.Error("colour follows the terminal")
	}
	a.env = func(name string) string { return map[string]string{"NO_COLOR": "1"}[name] }
	if a.colour(true) {
		t.Error("NO_COLOR is ignored")
	}
	a.env, a.noColor = func(string) string { return "" }, true
	if a.colour(true) {
		t.Error("--no-color is ignored")
	}
}

// TestSignals: one that comes twice at once is one; a second one stops.
func TestSignals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		signals := make(chan os.Signal)
		code := 0
		go obey(signals, cancel, func(c int) { code = c })
		for range 3 {
			signals <- os.Interrupt
		}
		synctest.Wait()
		if !errors.Is(context.Cause(ctx), errInterrupted) || code != 0 {
			t.Errorf("the first press: cause %v, exit code %d", context.Cause(ctx), code)
		}
		time.Sleep(time.Second)
		signals <- os.Interrupt
		synctest.Wait()
		if code != exitInterrupted {
			t.Errorf("the second press: exit code %d", code)
		}
		close(signals)
	})
}

// TestCompletionText: what a shell shows beside a flag is its sentence.
func TestCompletionText(t *testing.T) {
	r := klammRun(t, "__complete", "consume", "--").want(t, exitOK).wantOut(t, "--group\tjoin this consumer group and commit")
	if strings.Contains(r.out, "`") {
		t.Errorf("it has marks of the help: %s", r.out)
	}
	klammRun(t, "__complete", "plugin", "new", "x", "--lang", "").want(t, exitOK).wantOut(t, "assemblyscript", "c", "go", "rust")
}
