package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/sdk/plugintest"
)

func (a *app) pluginTestCommand() *cobra.Command {
	var ref string
	cmd := &cobra.Command{
		Use: "test [DIR|FILE...]", Short: "run a plugin's cases against its module",
		Long: `Builds the plugin and runs the cases of testdata/*.toml, or of the files given,
against the module in the real sandbox. Beside what a case wants it checks that a
second run, other batches and blocks of a later ABI level make no difference.`,
		Example: `  klamm plugin test
  klamm plugin test ./redact --output json
  klamm plugin test cases.toml --module builtin:dedup`,
		Args: exactly("[DIR|FILE...]"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.testPlugin(cmd.Context(), ref, args) },
	}
	cmd.Flags().StringVar(&ref, "module", "", "`module` to test: a folder, a .wasm file, or builtin:NAME (default: the folder)")
	return cmd
}

// testTargets splits the arguments into the module and the files of cases.
func testTargets(ref string, args []string) (string, []string, error) {
	dir := "."
	var files []string
	for _, arg := range args {
		if filepath.Ext(arg) == ".toml" {
			files = append(files, arg)
		} else {
			dir = arg
		}
	}
	if ref == "" {
		ref = dir
	}
	if len(files) > 0 {
		return ref, files, nil
	}
	files, err := plugintest.Files(dir)
	if err == nil && len(files) == 0 {
		err = &failure{err: fmt.Errorf("%s holds no cases", filepath.Join(dir, "testdata", "*.toml")), code: exitUsage, do: "write some, or name files; `klamm plugin new` shows how"}
	}
	return ref, files, err
}

type testJSON struct {
	Schema string         `json:"schema"`
	Module string         `json:"module"`
	Passed int            `json:"passed"`
	Failed int            `json:"failed"`
	Cases  []testCaseJSON `json:"cases"`
}

type testCaseJSON struct {
	File     string   `json:"file"`
	Name     string   `json:"name"`
	Passed   bool     `json:"passed"`
	Problems []string `json:"problems"`
	Millis   float64  `json:"ms"`
}

func (a *app) testPlugin(ctx context.Context, ref string, args []string) error {
	ref, files, err := testTargets(ref, args)
	if err != nil {
		return err
	}
	began := time.Now()
	reports, err := plugintest.RunFiles(ctx, ref, files, plugintest.CacheDir(a.cacheDir()))
	if err != nil {
		return &failure{err: fmt.Errorf("test %q: %w", ref, err), code: exitPlugin}
	}
	result := testResult(ref, reports)
	if a.json() {
		err = printJSON(a.out, result)
	} else {
		err = a.printTests(result, time.Since(began))
	}
	if err == nil && result.Failed > 0 {
		err = &failure{err: fmt.Errorf("%d of %d cases failed", result.Failed, len(result.Cases)), code: exitFailed}
	}
	return err
}

func testResult(ref string, reports []plugintest.Report) testJSON {
	r := testJSON{Schema: "klamm.plugin-test/1", Module: ref, Cases: []testCaseJSON{}}
	for _, report := range reports {
		for _, c := range report.Cases {
			ok := len(c.Problems) == 0
			if ok {
				r.Passed++
			} else {
				r.Failed++
			}
			r.Cases = append(r.Cases, testCaseJSON{report.File, c.Name, ok, append([]string{}, c.Problems...), float64(c.Duration.Microseconds()) / 1000})
		}
	}
	return r
}

func (a *app) printTests(r testJSON, took time.Duration) error {
	var b strings.Builder
	colour := a.colour(a.outTerminal)
	for _, c := range r.Cases {
		mark := paint(colour, "32", "ok  ")
		if !c.Passed {
			mark = paint(colour, "31", "FAIL")
		}
		fmt.Fprintf(&b, "%s  %s\n", mark, c.Name)
		for _, p := range c.Problems {
			fmt.Fprintf(&b, "        %s\n", strings.ReplaceAll(p, "\n", "\n        "))
		}
	}
	fmt.Fprintf(&b, "%d passed, %d failed (%v)\n", r.Passed, r.Failed, took.Round(time.Millisecond))
	_, err := fmt.Fprint(a.out, b.String())
	return err
}
