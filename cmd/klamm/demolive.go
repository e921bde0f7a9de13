package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// liveFigures shows a run's figures until the returned function is called: drawn
// over each other on a terminal, else a line a second.
func (a *app) liveFigures(r *demoRun) (stop func()) {
	if a.quiet {
		return func() {}
	}
	every := time.Second
	show := func() { a.say("%s", demoLine(r)) }
	screen := &redrawn{a: a}
	if a.talkTerminal {
		every = 200 * time.Millisecond
		show = func() { screen.draw(demoScreen(a, r)) }
	}
	done := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				show()
				return
			case <-tick.C:
				show()
			}
		}
	})
	return sync.OnceFunc(func() { close(done); shown.Wait() })
}

func demoLine(r *demoRun) string { return strings.Join(demoParts(r), "  ") }

func demoParts(r *demoRun) []string {
	f := r.snapshot()
	c := f.counts
	return []string{
		fmt.Sprintf("%4.0f s", time.Since(r.began).Seconds()), "polls " + count(f.polls), "in " + count(c.In), "out " + count(c.Out),
		"duplicates dropped " + count(c.Dropped), "failed " + count(c.Failed), "read back " + count(f.read),
	}
}

// fold joins parts to lines of at most width columns; a longer part has a line of
// its own.
func fold(parts []string, width int) (lines []string) {
	for _, p := range parts {
		if n := len(lines); n > 0 && utf8.RuneCountInString(lines[n-1])+2+utf8.RuneCountInString(p) <= width {
			lines[n-1] += "  " + p
			continue
		}
		lines = append(lines, p)
	}
	return lines
}

func demoScreen(a *app, r *demoRun) []string {
	f := r.snapshot()
	lines := fold(demoParts(r), a.width())
	most := int64(1)
	for _, n := range f.partitions {
		most = max(most, n)
	}
	colour := a.colour(a.talkTerminal)
	for i, n := range f.partitions {
		bar := strings.Repeat("█", int(24*n/most))
		lines = append(lines, fmt.Sprintf("  partition %d %6s  %s%s  %s", i, count(n), paint(colour, "36", bar), strings.Repeat(" ", 24-int(24*n/most)), f.networks[i]))
	}
	if f.lastDrop != "" {
		lines = append(lines, "  last duplicate  "+f.lastDrop)
	}
	return append(lines, paint(colour, "2", "  Ctrl-C stops and prints the summary"))
}

// redrawn is a block of lines that is drawn over itself.
type redrawn struct {
	a     *app
	lines int
}

func (s *redrawn) draw(lines []string) {
	var b strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.lines)
	}
	width := s.a.width()
	for _, l := range lines {
		fmt.Fprintf(&b, "\r\x1b[K%s\n", clip(l, width))
	}
	b.WriteString("\x1b[J")
	fmt.Fprint(s.a.talk, b.String())
	s.lines = len(lines)
}

// clip cuts a line to the terminal's width, so that it takes one row. Colour
// codes take no width.
func clip(line string, width int) string {
	seen, inCode := 0, false
	for i, r := range line {
		switch {
		case inCode:
			inCode = r != 'm'
		case r == '\x1b':
			inCode = true
		default:
			if seen++; seen > width {
				return line[:i] + "\x1b[0m"
			}
		}
	}
	return line
}
