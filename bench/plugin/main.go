// Command plugin measures what a plugin costs for each record: Klamm's runtime
// beside plain Go functions and other ways to call WebAssembly from Go, in one
// run.
//
//	cd bench && go run ./plugin --output json [--quick]
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klamm-io/klamm/bench/internal/command"
	"github.com/klamm-io/klamm/bench/internal/guests"
	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/bench/internal/rounds"
	"github.com/klamm-io/klamm/bench/internal/rows"
	"github.com/klamm-io/klamm/bench/internal/workload"
)

func main() { command.Main(run, nil) }

// options are what the command line says.
type options struct {
	json      bool
	languages []string
	plan      plan
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := command.NewFlags("plugin", "guests in C and Go and values of 200 B only; under 2 minutes", stderr)
	langs := f.String("guest", "", "languages of guests, with commas; default all")
	names := f.String("op", "", "operations, with commas; default all")
	f.Numbers(&o.plan.batches, "batch", "sizes of batches that divide 512, with commas; default 1,8,64,512", func(n int) bool { return n > 0 && workload.RingLen%n == 0 })
	f.Numbers(&o.plan.sizes, "size", "bytes of values from 128 on, with commas; default 200,1024,10240", func(n int) bool { return n >= workload.SizeMin && n <= 64<<10 })
	f.IntVar(&o.plan.rounds.Rounds, "rounds", 0, "rounds of each figure; default 21, at least 5")
	f.DurationVar(&o.plan.rounds.Time, "time", 0, "about how long each round of each contender takes; default 5ms")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.json = f.JSON
	if r := &o.plan.rounds.Rounds; *r != 0 {
		*r = max(*r, rounds.RoundsMin)
	}
	o.fill(f.Quick)
	return o, o.narrow(*langs, *names)
}

// fill sets what the command line left open.
func (o *options) fill(quick bool) {
	o.plan.ops, o.languages = ops.All(), guests.Languages
	if quick {
		o.languages = []string{"c", "go"}
	}
	if o.plan.batches == nil {
		o.plan.batches = []int{1, 8, 64, 512}
	}
	switch {
	case o.plan.sizes != nil:
	case quick:
		o.plan.sizes = []int{200}
	default:
		o.plan.sizes = []int{200, 1 << 10, 10 << 10}
	}
}

// narrow applies lists of languages and operations; an empty one changes nothing.
func (o *options) narrow(langs, names string) error {
	if langs != "" {
		o.languages = strings.Split(langs, ",")
		for _, l := range o.languages {
			if !guests.Known(l) {
				return fmt.Errorf("--guest %q: there are %s", l, strings.Join(guests.Languages, ", "))
			}
		}
		if !slices.Contains(o.languages, "go") {
			o.plan.without = "go"
			o.languages = append(o.languages, "go")
		}
	}
	if names == "" {
		return nil
	}
	o.plan.ops = nil
	for n := range strings.SplitSeq(names, ",") {
		if ops.Number(ops.Op(n)) < 0 {
			return fmt.Errorf("--op %q: there are %v", n, ops.All())
		}
		o.plan.ops = append(o.plan.ops, ops.Op(n))
	}
	return nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	root, err := guests.Root()
	if err != nil {
		return err
	}
	fmt.Fprintln(stderr, "building guests")
	set, err := guests.Load(ctx, root, cacheDir(), o.languages, stderr)
	if err != nil {
		return err
	}
	measured, err := measure(ctx, o.plan, set, stderr)
	if err != nil {
		return err
	}
	return command.Write(o.json, stdout, measured, rows.WriteTables)
}

// cacheDir is where guests that were built are kept; "" keeps none.
func cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "klamm-bench")
}
