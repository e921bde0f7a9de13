package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// app is one run of the command line: its streams and global flags.
type app struct {
	streams
	configPath string
	brokers    []string
	output     string
	noColor    bool
	quiet      bool
	verbose    bool
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	a := &app{streams: s}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out) // help that was asked for is a result
	root.SetErr(s.talk)
	if len(args) > 0 && args[0] == cobra.ShellCompRequestCmd {
		unmark(root)
	}
	err := root.ExecuteContext(ctx)
	if cause := context.Cause(ctx); err != nil && errors.Is(err, context.Canceled) && cause != nil {
		err = cause
	}
	if err != nil {
		a.report(err)
	}
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "klamm",
		Short: "WebAssembly interceptors and partitioners for Kafka",
		Long: `Klamm runs every Kafka record through your own code, sandboxed as WebAssembly
plugins: interceptors that pass, edit, route or drop records, and partitioners.

` + exitCodesHelp,
		Example: `  klamm demo                        real data, duplicates and plugins; no Kafka needed
  klamm check config.toml           every mistake with its line
  klamm run config.toml             pipelines, /metrics, hot reload`,
		Args: group, RunE: help,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: a.checkGlobals,
		Version:           version().Version,
	}
	root.SetVersionTemplate("klamm {{.Version}}\n")
	root.SetFlagErrorFunc(badFlag)
	f := root.PersistentFlags()
	f.StringVarP(&a.configPath, "config", "c", "", "configuration `file` (default $KLAMM_CONFIG, then ./config.toml if there is one)")
	f.StringSliceVarP(&a.brokers, "brokers", "b", nil, "`host:port` list in place of cluster.bootstrap_servers")
	f.StringVarP(&a.output, "output", "o", "table", "`table` or json")
	f.BoolVar(&a.noColor, "no-color", false, "no colours (NO_COLOR does the same)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "results and errors only")
	f.BoolVar(&a.verbose, "verbose", false, "log at level debug")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))

	root.AddCommand(
		a.demoCommand(), a.runCommand(), a.checkCommand(), a.produceCommand(), a.consumeCommand(), a.replayCommand(), a.copyCommand(), a.explainCommand(),
		a.benchCommand(), a.verifyCommand(), a.brokerCommand(), a.errorsCommand(), a.topicCommand(), a.pluginCommand(), a.pipelineCommand(), a.stateCommand(), a.versionCommand(),
	)
	return root
}

// unmark takes the marks that name a flag's value in --help out of its sentence:
// shells show it as it is.
func unmark(cmd *cobra.Command) {
	plain := func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") }
	cmd.Flags().VisitAll(plain)
	cmd.PersistentFlags().VisitAll(plain)
	for _, c := range cmd.Commands() {
		unmark(c)
	}
}

func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

func (a *app) checkGlobals(*cobra.Command, []string) error {
	if a.output != "table" && a.output != "json" {
		return usagef("--output %q: there are table and json", a.output)
	}
	return nil
}

func (a *app) json() bool { return a.output == "json" }

// say talks to the person: progress, hints, summaries.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.talk, format+"\n", args...)
	}
}
