package plugintest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
)

// check compares what a case wants with what came of it.
func (c *Case) check(out *Outcome, err error) (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	switch want := c.WantInit + c.WantError; {
	case want == "" && err != nil:
		bad("%v", err)
	case want != "" && err == nil:
		bad("got no error, want one with %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		bad("got error %q, want one with %q", err, want)
	}
	if out == nil {
		return problems
	}
	if err == nil && c.judges() {
		problems = append(problems, c.checkResults(out.Results)...)
	}
	for _, name := range slices.Sorted(maps.Keys(c.WantMetrics)) {
		if got, ok := out.Metrics[name]; !ok {
			bad("metric %q is not declared", name)
		} else if want := c.WantMetrics[name]; got != want {
			bad("metric %q: got %d, want %d", name, got, want)
		}
	}
	if c.WantState != nil && !maps.Equal(c.WantState, out.State) {
		bad("state: got %q, want %q", out.State, c.WantState)
	}
	logs := out.Logs
	if err != nil {
		logs = append(slices.Clone(logs), err.Error()) // it quotes what was logged as an error
	}
	for _, text := range c.WantLog {
		if !slices.ContainsFunc(logs, func(line string) bool { return strings.Contains(line, text) }) {
			bad("no log line has %q: %q", text, logs)
		}
	}
	return problems
}

func (c *Case) judges() bool { return c.Hook != abi.OnAcknowledgement && c.Hook != abi.OnCommit }

func (c *Case) checkResults(results []Result) (problems []string) {
	if len(results) != len(c.Want) {
		return []string{fmt.Sprintf("got %d records, want %d", len(results), len(c.Want))}
	}
	for i, want := range c.Want {
		if p := want.check(&c.Records[i], &results[i]); p != "" {
			problems = append(problems, fmt.Sprintf("record %d: %s", i, p))
		}
	}
	return problems
}

func (w *Want) check(in *klamm.Record, got *Result) string {
	verdict := w.Verdict
	if verdict == abi.ValueInPlace {
		verdict = abi.Edit
	}
	switch {
	case got.Verdict != verdict:
		return fmt.Sprintf("got %s, want %s", got, verdict)
	case w.Reason != "" && got.Reason != w.Reason:
		return fmt.Sprintf("got %s, want reason %s", got, w.Reason)
	case !strings.Contains(got.Text, w.Text):
		return fmt.Sprintf("got %s, want a text with %q", got, w.Text)
	case verdict == abi.Route && got.Partition != w.Partition:
		return fmt.Sprintf("got %s, want partition %d", got, w.Partition)
	case verdict == abi.Edit && w.Record != nil:
		want := *w.Record
		if want.Topic == "" {
			want.Topic = topicOf(in)
		}
		if g, w := text(&got.Record), text(&want); g != w {
			return fmt.Sprintf("got  %s\n  want %s", g, w)
		}
	}
	return ""
}

// String shows the whole result, null and empty apart.
func (r *Result) String() string {
	s := r.Verdict.String()
	switch r.Verdict {
	case abi.Drop, abi.Fail, abi.DeadLetter:
		s += " " + r.Reason
		if r.Text != "" {
			s += " " + strconv.Quote(r.Text)
		}
	case abi.Route:
		s += " " + strconv.Itoa(int(r.Partition))
	case abi.Edit:
		s += " " + text(&r.Record)
	}
	return s
}

// text writes a record down, such that equal texts are equal records.
func text(r *klamm.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "topic=%s key=%s value=%s", r.Topic, quote(r.Key), quote(r.Value))
	for _, h := range r.Headers {
		fmt.Fprintf(&b, " %s:%s", h.Key, quote(h.Value))
	}
	if p, ok := r.Target.Partition(); ok {
		fmt.Fprintf(&b, " partition=%d", p)
	}
	if !r.Timestamp.IsZero() {
		fmt.Fprintf(&b, " timestamp=%s", r.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	}
	return b.String()
}

func quote(b []byte) string {
	if b == nil {
		return "null"
	}
	return strconv.Quote(string(b))
}

// differences compares two runs of one case. Logs are not compared: a call that
// is repeated logs again.
func differences(a, b *Outcome, errA, errB error) (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if (errA == nil) != (errB == nil) {
		return []string{fmt.Sprintf("error %v against %v", errA, errB)}
	}
	if a == nil || b == nil || errA != nil {
		return nil
	}
	if len(a.Results) != len(b.Results) {
		return []string{fmt.Sprintf("%d records against %d", len(a.Results), len(b.Results))}
	}
	for i := range a.Results {
		if x, y := a.Results[i].String(), b.Results[i].String(); x != y {
			bad("record %d: %s\n  against %s", i, x, y)
		}
	}
	if !maps.Equal(a.Metrics, b.Metrics) {
		bad("metrics %v against %v", a.Metrics, b.Metrics)
	}
	if !maps.Equal(a.State, b.State) {
		bad("state %q against %q", a.State, b.State)
	}
	return problems
}
