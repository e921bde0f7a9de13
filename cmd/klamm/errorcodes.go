package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/internal/kafkaerrors"
)

func (a *app) errorsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "errors [CODE|NAME]",
		Short: "a Kafka error: class, cause, what to do, what Klamm does",
		Long:  "Explains Kafka's error codes and Klamm's own errors. A part of a name lists all that contain it.",
		Example: `  klamm errors 45
  klamm errors NOT_LEADER_FOR_PARTITION
  klamm errors fenced`,
		Args: exactly("[CODE|NAME]"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, e := range allErrors() {
				names = append(names, e.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.printErrors(allErrors())
			}
			return a.explainError(args[0])
		},
	}
}

func allErrors() []kafkaerrors.Entry {
	return append(kafkaerrors.Codes(), kafkaerrors.Own()...)
}

// explainError explains what the word names, or lists what it may mean.
func (a *app) explainError(word string) error {
	e, near, ok := kafkaerrors.Lookup(word)
	if ok {
		return a.printError(e)
	}
	if some := kafkaerrors.Containing(word); len(some) > 0 {
		return a.printErrors(some)
	}
	if _, err := strconv.Atoi(word); err == nil {
		codes := kafkaerrors.Codes()
		return usagef("Kafka has no error code %s; there are %d to %d", word, codes[0].Code, codes[len(codes)-1].Code)
	}
	if near != "" {
		return usagef("unknown error %q; did you mean %s?", word, near)
	}
	return &failure{err: fmt.Errorf("unknown error %q", word), code: exitUsage, do: "`klamm errors` lists all; a part of a name also finds them"}
}

func (a *app) printErrors(list []kafkaerrors.Entry) error {
	if a.json() {
		return printJSON(a.out, map[string]any{"schema": "klamm.errors/1", "errors": list})
	}
	rows := [][]string{{"CODE", "NAME", "CLASS"}}
	for _, e := range list {
		rows = append(rows, []string{codeText(e), e.Name, string(e.Class)})
	}
	return a.printTable(rows)
}

// codeText is empty for Klamm's own errors, which have no code.
func codeText(e kafkaerrors.Entry) string {
	if e.Err != nil {
		return ""
	}
	return strconv.Itoa(int(e.Code))
}

func (a *app) printError(e kafkaerrors.Entry) error {
	if a.json() {
		return a.printErrors([]kafkaerrors.Entry{e})
	}
	bold := a.colour(a.outTerminal)
	_, err := fmt.Fprintf(a.out, "%s\n  class  %s\n  cause  %s\n  do     %s\n  klamm  %s\n",
		paint(bold, "1", strings.TrimSpace(e.Name+"  "+codeText(e))), e.Class, e.Cause, e.Do, e.Klamm)
	return err
}
