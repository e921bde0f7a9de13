package main

import (
	"fmt"

	"github.com/klamm-io/klamm/host"
)

type plannedPartition struct {
	Partition int32           `json:"partition"`
	Start     int64           `json:"start"`
	Position  int64           `json:"position"`
	End       int64           `json:"end"`
	Judged    host.CopyCounts `json:"judged"`
}

type plannedEnd struct {
	Outcome string `json:"outcome"`
	Plugin  string `json:"plugin,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Records int64  `json:"records"`
}

// printTrial prints a plan, and what plugins make of the records that they judged.
func (c *copyRun) printTrial(r *host.CopyReport, t *host.CopyTrial) error {
	var all []plannedPartition
	rows := [][]string{{"PARTITION", "START", "POSITION", "END", "TO COPY", "JUDGED", "OUT", "DROPPED", "DEAD-LETTERED"}}
	for i, p := range r.Partitions {
		n := t.Partitions[i]
		all = append(all, plannedPartition{p.Partition, p.Start, p.Position, p.End, n})
		rows = append(rows, []string{
			fmt.Sprint(p.Partition), fmt.Sprint(p.Start), fmt.Sprint(p.Position), fmt.Sprint(p.End), count(max(0, p.End-p.Position)),
			count(n.In), count(n.Out), count(n.Dropped), count(n.DeadLettered),
		})
	}
	c.sayTrial(t)
	if !c.a.json() {
		return c.a.printTable(rows)
	}
	ends := []plannedEnd{}
	for _, e := range t.Ends {
		ends = append(ends, plannedEnd{e.Outcome.String(), e.Plugin, e.Reason, e.Records})
	}
	type judged struct {
		host.CopyCounts
		Failed int64        `json:"failed"`
		All    bool         `json:"all"`
		Ends   []plannedEnd `json:"ends"`
	}
	return printJSON(c.a.out, struct {
		Schema     string             `json:"schema"`
		From       string             `json:"from"`
		To         string             `json:"to"`
		Group      string             `json:"group"`
		Chain      string             `json:"chain,omitempty"`
		Resumed    bool               `json:"resumed"`
		Judged     judged             `json:"judged"`
		Partitions []plannedPartition `json:"partitions"`
	}{"klamm.copy-plan/1", r.From, r.To, r.Group, c.chain(), r.Resumed, judged{t.CopyCounts, t.Failed, t.All, ends}, all})
}

func (c *copyRun) sayTrial(t *host.CopyTrial) {
	what := "all"
	if !t.All {
		what = "the first"
	}
	c.a.say("judged %s %s records: out %s, dropped %s, dead-lettered %s, failed %s; nothing is written", what, count(t.In), count(t.Out), count(t.Dropped), count(t.DeadLettered), count(t.Failed))
	for i, e := range t.Ends {
		if i == maxFailuresTold {
			c.a.say("and %d more reasons", len(t.Ends)-i)
			break
		}
		c.a.say("  %s %s by %s: %s", count(e.Records), e.Outcome, e.Plugin, e.Reason)
	}
	if t.Failed > 0 {
		c.a.say("the copy would stop at the first record that fails: give it a --dead-letter-topic")
	}
}
