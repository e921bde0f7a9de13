// Package command is the command line that benchmarks share: what they print and
// how much they measure, and the hidden commands of their child processes.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"

	"github.com/klamm-io/klamm/bench/internal/rows"
)

// Serve is a child process's work. It returns the exit code.
type Serve func(arg string, in io.Reader, out, stderr io.Writer) int

// Main runs a benchmark until it ends or is interrupted, or, with a hidden command
// as the first argument, what that is.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) error, hidden map[string]Serve) {
	if len(os.Args) > 2 {
		if serve, ok := hidden[os.Args[1]]; ok {
			os.Exit(serve(os.Args[2], os.Stdin, os.Stdout, os.Stderr))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err == nil {
		return
	}
	if !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.Exit(1)
}

// Flags are a benchmark's, --output and --quick among them.
type Flags struct {
	*flag.FlagSet
	// JSON is whether rows are printed as JSON. It and Quick are set by Parse.
	JSON  bool
	Quick bool

	output string
}

// NewFlags returns the flags of a benchmark. quick says what --quick does.
func NewFlags(name, quick string, stderr io.Writer) *Flags {
	f := &Flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError)}
	f.SetOutput(stderr)
	f.StringVar(&f.output, "output", "table", "table or json, one object a row")
	f.BoolVar(&f.Quick, "quick", false, quick)
	return f
}

// Parse refuses arguments that are no flags too.
func (f *Flags) Parse(args []string) error {
	if err := f.FlagSet.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if f.JSON = f.output == "json"; !f.JSON && f.output != "table" {
		return fmt.Errorf("--output %q: want table or json", f.output)
	}
	return nil
}

// List is a flag of names with commas between them; those that are known.
func (f *Flags) List(to *[]string, name string, known []string) {
	all := strings.Join(known, ",")
	f.Func(name, "with commas; default "+all, func(text string) error {
		*to = strings.Split(text, ",")
		for _, one := range *to {
			if !slices.Contains(known, one) {
				return fmt.Errorf("%q: there are %s", one, all)
			}
		}
		return nil
	})
}

// Numbers is a flag of numbers with commas between them; those that are valid.
func (f *Flags) Numbers(to *[]int, name, usage string, valid func(int) bool) {
	f.Func(name, usage, func(text string) error {
		*to = nil
		for field := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(field)
			if err != nil || !valid(n) {
				return fmt.Errorf("%q does not do", field)
			}
			*to = append(*to, n)
		}
		return nil
	})
}

// Fill sets a value that the command line left open.
func Fill[T comparable](f *Flags, value *T, open, full, quick T) {
	if *value != open {
		return
	}
	if *value = full; f.Quick {
		*value = quick
	}
}

// Write prints rows, as JSON or by a table.
func Write[R any](asJSON bool, w io.Writer, all []R, table func(io.Writer, []R) error) error {
	if asJSON {
		return rows.WriteJSON(w, all)
	}
	return table(w, all)
}

// Failed prints an error of a child process and returns its exit code.
func Failed(err error, stderr io.Writer) int {
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}
