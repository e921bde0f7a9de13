package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

func (a *app) topicCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "topic", Short: "create, list and describe topics: the little that is needed while testing",
		Args: group, RunE: help,
	}
	cmd.AddCommand(a.topicCreateCommand(), a.topicListCommand(), a.topicDescribeCommand())
	return cmd
}

// topicPlan is what `topic create` asks for.
type topicPlan struct {
	partitions  int32
	replication int16
	settings    []string
	ifMissing   bool
}

func (a *app) topicCreateCommand() *cobra.Command {
	var plan topicPlan
	cmd := &cobra.Command{
		Use: "create TOPIC...", Short: "create topics",
		Example: `  klamm topic create orders
  klamm topic create orders clean --partitions 12 --set cleanup.policy=compact
  klamm topic create orders --if-missing -b broker-1:9092`,
		Args: exactly("TOPIC..."),
		RunE: func(cmd *cobra.Command, args []string) error { return a.createTopics(cmd.Context(), args, plan) },
	}
	f := cmd.Flags()
	f.Int32Var(&plan.partitions, "partitions", -1, "`number` of partitions; -1: the broker's default")
	f.Int16Var(&plan.replication, "replication", -1, "`number` of replicas; -1: the broker's default")
	f.StringArrayVar(&plan.settings, "set", nil, "topic setting, `name=value`; may be repeated")
	f.BoolVar(&plan.ifMissing, "if-missing", false, "a topic that exists is no error")
	return cmd
}

func (a *app) createTopics(ctx context.Context, names []string, plan topicPlan) error {
	if plan.partitions == 0 || plan.partitions < -1 {
		return usagef("--partitions %d: a topic has at least one; -1 is the broker's default", plan.partitions)
	}
	if plan.replication == 0 || plan.replication < -1 {
		return usagef("--replication %d: a partition has at least one replica; -1 is the broker's default", plan.replication)
	}
	configs := map[string]string{}
	for _, s := range plan.settings {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return usagef("--set %q: it is name=value", s)
		}
		configs[name] = value
	}
	h, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer h.Close(ctx)
	made := []createdJSON{}
	for _, name := range names {
		err = h.CreateTopic(ctx, name, plan.partitions, plan.replication, configs)
		exists := errors.Is(err, &klamm.BrokerError{Code: klamm.CodeTopicAlreadyExists})
		if exists && plan.ifMissing {
			a.say("topic %q exists", name)
			made, err = append(made, createdJSON{name, false}), nil
			continue
		}
		if exists {
			err = todo(err, "use it as it is, or pass --if-missing")
		}
		if err != nil {
			break
		}
		a.say("topic %q created", name)
		made = append(made, createdJSON{name, true})
	}
	if a.json() { // what was done before an error, too
		err = errors.Join(err, printJSON(a.out, map[string]any{"schema": "klamm.topic_create/1", "topics": made}))
	}
	return err
}

// createdJSON is a topic that is there; Created is false if it was before.
type createdJSON struct {
	Topic   string `json:"topic"`
	Created bool   `json:"created"`
}

func (a *app) topicListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list topics", Args: exactly(),
		Example: `  klamm topic list
  klamm topic list -b broker-1:9092 --output json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer h.Close(cmd.Context())
			names, err := h.Topics(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return printJSON(a.out, map[string]any{"schema": "klamm.topic_list/1", "topics": append([]string{}, names...)})
			}
			for _, n := range names {
				fmt.Fprintln(a.out, n)
			}
			return nil
		},
	}
}

func (a *app) topicDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "describe TOPIC...", Short: "partitions, leaders and offsets of topics",
		Example: `  klamm topic describe orders
  klamm topic describe orders clean --output json`,
		Args: exactly("TOPIC..."), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer h.Close(cmd.Context())
			infos, err := h.DescribeTopics(cmd.Context(), args...)
			if err != nil {
				return err
			}
			return a.printTopics(infos)
		},
	}
}

type topicJSON struct {
	Topic      string          `json:"topic"`
	Partitions []partitionJSON `json:"partitions"`
}

type partitionJSON struct {
	Partition int32 `json:"partition"`
	Leader    int32 `json:"leader"`
	Start     int64 `json:"start"`
	End       int64 `json:"end"`
}

func (a *app) printTopics(infos []host.TopicInfo) error {
	rows := [][]string{{"TOPIC", "PARTITION", "LEADER", "START", "END", "RECORDS"}}
	topics := []topicJSON{}
	for _, t := range infos {
		j := topicJSON{Topic: t.Name, Partitions: []partitionJSON{}}
		for _, p := range t.Partitions {
			j.Partitions = append(j.Partitions, partitionJSON{p.ID, p.Leader, p.Start, p.End})
			rows = append(rows, []string{t.Name, strconv.Itoa(int(p.ID)), strconv.Itoa(int(p.Leader)),
				strconv.FormatInt(p.Start, 10), strconv.FormatInt(p.End, 10), strconv.FormatInt(p.End-p.Start, 10)})
		}
		topics = append(topics, j)
	}
	if a.json() {
		return printJSON(a.out, map[string]any{"schema": "klamm.topics/1", "topics": topics})
	}
	return a.printTable(rows)
}

// completeTopics offers the brokers' topics in a shell.
func (a *app) completeTopics(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	h, err := a.connect(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer h.Close(ctx)
	names, _ := h.Topics(ctx) // no names are no completions
	return names, cobra.ShellCompDirectiveNoFileComp
}
