package kafkaerrors

import (
	"fmt"
	"strings"
)

const intro = `# Errors

What each error means, who can do something about it, and what Klamm does by itself. ` + "`klamm errors CODE|NAME`" + ` prints one of them. Names are
taken in any case and spelling: ` + "`NOT_LEADER_FOR_PARTITION`, `NotLeaderOrFollowerException` and `ErrNotLeaderForPartition`" + ` are the same.

This file is written from the tables in ` + "`internal/kafkaerrors`" + `; a test keeps the two equal.
`

// Markdown returns docs/errors.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(intro)
	b.WriteString("\n## Exit codes\n\n| code | |\n|---|---|\n")
	for _, c := range ExitCodes() {
		row(&b, fmt.Sprint(c.Code), c.Meaning)
	}
	b.WriteString("\n## Klamm's own errors\n\nFor `errors.Is` in Go. A result wraps one of them, the broker's code, or both.\n\n" +
		"| name | class | cause | what to do | what Klamm does |\n|---|---|---|---|---|\n")
	for _, e := range own {
		row(&b, "`"+e.Name+"`", string(e.Class), e.Cause, e.Do, e.Klamm)
	}
	b.WriteString("\nA plugin's `on_acknowledgement` sees Kafka's code, or one of these where there is none:\n\n| code | |\n|---|---|\n")
	for _, c := range AckCodes() {
		row(&b, fmt.Sprint(c.Code), c.Meaning)
	}
	b.WriteString("\n## Classes of Kafka's codes\n\n| class | meaning | what Klamm does, unless the code says otherwise |\n|---|---|---|\n")
	for _, a := range about {
		row(&b, string(a.class), a.means, a.does)
	}
	b.WriteString("\n## Kafka's codes\n\n| code | name | class | cause | what to do | what Klamm does |\n|---|---|---|---|---|---|\n")
	for _, e := range Codes() {
		does := texts[e.Code].klamm
		if does == "" {
			does = "see its class"
		}
		row(&b, fmt.Sprint(int(e.Code)), "`"+e.Name+"`", string(e.Class), e.Cause, e.Do, does)
	}
	return b.String()
}

func row(b *strings.Builder, cells ...string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}
