package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// pluginKey is how the SDKs of all languages tell a mistake in the plugin's own
// table: one a line.
var pluginKey = regexp.MustCompile(`^(unknown )?config key ("(?:[^"\\]|\\.)*")`)

// refusedKeys are the lines of a plugin that refused its own table, nil where
// err is anything else or some line is about something else. A key that is
// missing beside one that is unknown is most likely that one, so it is not told.
func refusedKeys(err error) (plugin string, lines []string) {
	var guest *runtime.GuestError
	if !errors.As(err, &guest) || guest.Export != abi.ExportInit {
		return "", nil
	}
	unknown := false
	for line := range strings.Lines(guest.Said) {
		line = strings.TrimSpace(line)
		if !pluginKey.MatchString(line) {
			return "", nil
		}
		unknown = unknown || strings.HasPrefix(line, "unknown ")
		lines = append(lines, line)
	}
	if unknown {
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasSuffix(l, ": is required") })
	}
	return guest.Plugin, lines
}

// sameButCase finds key among those that a plugin says it knows, written in
// another case: its own search goes by letters.
func sameButCase(key, known string) string {
	names, ok := strings.CutPrefix(known, "known are ")
	if !ok {
		return ""
	}
	for name := range strings.SplitSeq(names, ", ") {
		if strings.EqualFold(name, key) {
			return name
		}
	}
	return ""
}

// addPluginKeys adds the mistakes that a plugin found in its own table, each at
// its key or value, and reports whether err is nothing but such.
func addPluginKeys(problems *config.Problems, err error) bool {
	plugin, lines := refusedKeys(err)
	for _, line := range lines {
		m := pluginKey.FindStringSubmatch(line)
		key, err := strconv.Unquote(m[2])
		if err != nil {
			key = strings.Trim(m[2], `"`)
		}
		at := []string{"plugin", plugin, "config", key}
		text, do, found := strings.Cut(line, "; ")
		if text = fmt.Sprintf("plugin %q: %s", plugin, text); !found {
			do = ""
		}
		if near := sameButCase(key, do); m[1] != "" && near != "" {
			do = fmt.Sprintf("did you mean %q?", near)
		}
		if m[1] != "" {
			problems.AddKey(at, config.Error, text, do)
		} else {
			problems.Add(at, config.Error, text, do)
		}
	}
	return len(lines) > 0
}

// placed gives the mistakes in plugins' own tables their lines, where there are
// no others.
func (s *settings) placed(err error) error {
	if err == nil {
		return nil
	}
	problems := config.NewProblems(s.Source)
	for _, e := range flatten(err) {
		if !addPluginKeys(problems, e) {
			return err
		}
	}
	return problems.Err()
}
