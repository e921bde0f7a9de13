package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/admin"
)

func (a *app) pipelineCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pipeline", Short: "list, pause and resume the pipelines of a running host, and see their lag",
		Example: `  klamm pipeline list
  klamm pipeline lag clean -o json
  klamm pipeline pause clean --admin unix:/run/klamm.sock`,
		Args: group, RunE: help,
	}
	cmd.AddCommand(
		a.pipelineCall("list", "the pipelines of a running host: what they did, what they lag", a.printPipelines, nil),
		a.pipelineCall("lag", "position, committed offset and lag of each input partition", a.printLag, nil),
		a.pipelineCall("pause NAME", "stop a pipeline's reading; what it has read is completed, its partitions stay", a.printPipelines, (*admin.Client).PausePipeline),
		a.pipelineCall("resume NAME", "go on with a paused pipeline", a.printPipelines, (*admin.Client).ResumePipeline),
	)
	return cmd
}

// pipelineChange is a call that names a pipeline.
type pipelineChange func(c *admin.Client, ctx context.Context, name string) (admin.PipelinesAnswer, error)

// pipelineCall is a command that makes one call and prints its answer. Without a
// change it asks for all, or for the one that is named.
func (a *app) pipelineCall(use, short string, print func([]host.PipelineInfo) error, change pipelineChange) *cobra.Command {
	var at adminAt
	want := exactly("NAME")
	if change == nil {
		use, want = use+" [NAME]", exactly("[NAME]")
	}
	cmd := &cobra.Command{
		Use: use, Short: short, Args: want,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, listen, err := a.adminClient(at)
			if err != nil {
				return err
			}
			var answer admin.PipelinesAnswer
			if change != nil {
				answer, err = change(client, cmd.Context(), args[0])
			} else {
				answer, err = client.Pipelines(cmd.Context())
			}
			if err != nil {
				return adminError(listen, err)
			}
			if answer.Pipelines, err = named(answer.Pipelines, args); err != nil {
				return err
			}
			if a.json() {
				return printJSON(a.out, answer)
			}
			return print(answer.Pipelines)
		},
	}
	at.flags(cmd)
	return cmd
}

// named is the pipeline that was asked for, or all of them.
func named(all []host.PipelineInfo, args []string) ([]host.PipelineInfo, error) {
	if len(args) == 0 {
		return all, nil
	}
	var names []string
	for _, p := range all {
		if p.Name == args[0] {
			return []host.PipelineInfo{p}, nil
		}
		names = append(names, p.Name)
	}
	return nil, fmt.Errorf("pipeline %q is not running; there are %s", args[0], strings.Join(names, ", "))
}

func (a *app) printPipelines(pipelines []host.PipelineInfo) error {
	rows := [][]string{{"PIPELINE", "FROM", "TO", "GROUP", "STATE", "IN", "OUT", "DROPPED", "DEAD-LETTERED", "FAILED", "IN FLIGHT", "LAG"}}
	for _, p := range pipelines {
		rows = append(rows, []string{
			p.Name, strings.Join(p.From, ","), p.To, p.Group, pipelineState(p), count(p.In), count(p.Out), count(p.Dropped),
			count(p.DeadLettered), count(p.Failed), count(p.InFlight), count(p.Lag),
		})
	}
	return a.printTable(rows)
}

func pipelineState(p host.PipelineInfo) string {
	switch {
	case p.Ended:
		return "ended"
	case p.Paused:
		return "paused"
	case !p.Joined:
		return "joining"
	}
	return "running"
}

func (a *app) printLag(pipelines []host.PipelineInfo) error {
	rows := [][]string{{"PIPELINE", "TOPIC", "PARTITION", "POSITION", "COMMITTED", "END", "LAG"}}
	for _, p := range pipelines {
		for _, l := range p.Partitions {
			rows = append(rows, []string{p.Name, l.Topic, fmt.Sprint(l.Partition), offset(l.Position), offset(l.Committed), fmt.Sprint(l.End), count(l.Lag)})
		}
	}
	return a.printTable(rows)
}

// offset prints one that is not known yet as a dash.
func offset(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}
