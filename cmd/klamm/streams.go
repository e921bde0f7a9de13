package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// streams are where a command reads and writes: results on out, talk on talk.
type streams struct {
	in        io.Reader
	out, talk io.Writer
	// outTerminal and talkTerminal tell whether people look at them.
	inTerminal, outTerminal, talkTerminal bool
	env                                   func(string) string
}

func standardStreams() streams {
	return streams{
		in: os.Stdin, out: os.Stdout, talk: os.Stderr, env: os.Getenv,
		inTerminal:   term.IsTerminal(int(os.Stdin.Fd())),
		outTerminal:  term.IsTerminal(int(os.Stdout.Fd())),
		talkTerminal: term.IsTerminal(int(os.Stderr.Fd())),
	}
}

// colour reports whether a stream takes colours: a terminal, and nobody has
// asked for none (https://no-color.org, --no-color).
func (a *app) colour(terminal bool) bool {
	return terminal && !a.noColor && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb"
}

// paint wraps text in an ANSI code, "1" for bold or "31" for red, for a stream
// that takes colours.
func paint(on bool, code, text string) string {
	if !on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// width is the terminal's, in letters.
func (a *app) width() int {
	if f, ok := a.talk.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return 80
}
