package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/plugins"
)

func (a *app) pluginCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "plugin", Short: "scaffold, build, test, inspect, deploy and roll back plugins",
		Args: group, RunE: help,
	}
	cmd.AddCommand(a.pluginNewCommand(), a.pluginBuildCommand(), a.pluginTestCommand(), a.pluginInspectCommand(),
		a.pluginDeployCommand(), a.pluginStatusCommand(), a.pluginHistoryCommand(), a.pluginRollbackCommand())
	return cmd
}

// cacheDir is where built and compiled modules are kept, as [plugins] says.
func (a *app) cacheDir() string {
	c := config.Default()
	c.ApplyDefaults()
	return c.Plugins.CacheDir
}

func (a *app) pluginBuildCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "build [DIR]", Short: "build a folder of source to a .wasm module",
		Long: `Builds a plugin in Go, C, Rust or AssemblyScript, told by its files, with that
language's own compiler. The SDK is the copy that "klamm plugin new" has made.`,
		Example: `  klamm plugin build
  klamm plugin build ./redact --out redact.wasm`,
		Args: exactly("[DIR]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return a.buildPlugin(cmd.Context(), dir, out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to write (default: the folder's name with .wasm, inside it)")
	return cmd
}

func (a *app) buildPlugin(ctx context.Context, dir, out string) error {
	if out == "" {
		full, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		out = filepath.Join(dir, filepath.Base(full)+".wasm")
	}
	path, err := module.Build(ctx, dir, out, a.cacheDir())
	if err != nil {
		return &failure{err: fmt.Errorf("build %q: %w", dir, err), code: exitPlugin}
	}
	wasm, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	in := a.inspectBytes(ctx, path, &module.Module{Wasm: wasm})
	if a.json() {
		return printJSON(a.out, in)
	}
	fmt.Fprintln(a.out, path)
	a.say("%s, %s, sha256 %s", bytesText(int64(in.Size)), strings.Join(in.Hooks, " "), in.Digest)
	return in.err(path)
}

// completeModules offers files, folders and builtins.
func completeModules(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, n := range plugins.Names() {
		names = append(names, "builtin:"+n)
	}
	return names, cobra.ShellCompDirectiveDefault
}
