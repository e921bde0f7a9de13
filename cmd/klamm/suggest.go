package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// nearest returns the candidate that word most likely means, or "".
func nearest(word string, candidates []string) string {
	best, least := "", 1+max(1, len(word)/3)
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is Damerau-Levenshtein's, adjacent swaps counting one.
func distance(a, b string) int {
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}

// badFlag turns pflag's error into a usage error that names the right flag.
func badFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usageIn(cmd, err.Error())
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	given := unknown.GetSpecifiedName()
	what := fmt.Sprintf("unknown flag %q", "--"+given)
	if len(given) == 1 {
		what = fmt.Sprintf("unknown flag %q", "-"+given)
	} else if near := nearest(given, names); near != "" {
		what += fmt.Sprintf("; did you mean %q?", "--"+near)
	}
	return usageIn(cmd, what)
}

// group is the Args of a command that only has subcommands.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(append(names, c.Name()), c.Aliases...)
		}
	}
	what := fmt.Sprintf("unknown command %q", cmd.CommandPath()+" "+args[0])
	if near := nearest(args[0], names); near != "" {
		return usageIn(cmd, fmt.Sprintf("%s; did you mean %q?", what, near))
	}
	slices.Sort(names)
	return usageIn(cmd, fmt.Sprintf("%s; there are %s", what, strings.Join(names, ", ")))
}

// exactly demands the named arguments; a name in brackets is optional, one
// that ends with "..." takes the rest.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		rest := false
		for i, n := range names {
			rest = rest || strings.HasSuffix(strings.Trim(n, "[]"), "...")
			if i >= len(args) && !strings.HasPrefix(n, "[") {
				return usageIn(cmd, fmt.Sprintf("%s is missing", strings.TrimSuffix(n, "...")))
			}
		}
		if len(args) > len(names) && !rest {
			return usageIn(cmd, fmt.Sprintf("%q is one argument too many", args[len(names)]))
		}
		return nil
	}
}

func usageIn(cmd *cobra.Command, what string) error {
	return &failure{err: errors.New(what), code: exitUsage, do: fmt.Sprintf("see `%s --help`", cmd.CommandPath())}
}
