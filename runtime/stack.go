package runtime

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/klamm-io/klamm/runtime/internal/lines"
)

// frameMax is the most bytes of a line of a stack. Names are the guest's.
const frameMax = 512

// linesOf returns what reads the line tables at the first trap: until then they
// are only kept.
func linesOf(debug map[string][]byte) func() *lines.Table {
	return sync.OnceValue(func() *lines.Table {
		t := lines.Read(lines.Sections{
			Line: debug[".debug_line"], LineStr: debug[".debug_line_str"], Str: debug[".debug_str"],
		})
		debug = nil
		return t
	})
}

// stackOf takes the guest's stack out of the engine's error: functions, innermost
// first, with file and line where the module tells them.
func (m *Module) stackOf(err error) string {
	_, stack, ok := strings.Cut(err.Error(), engineStackMark)
	if !ok {
		return ""
	}
	stack, _, _ = strings.Cut(stack, "\n\n")
	var out []byte
	for _, line := range strings.Split(stack, "\n\t") {
		if at, ok := offsetOf(line); ok && len(out) > 0 {
			out = m.appendPlace(out, at)
			continue
		}
		if len(out) > 0 {
			out = append(out, '\n')
		}
		// Each line is "module.function(types)"; modules have no names here.
		out = appendEscaped(out, []byte(strings.TrimPrefix(line, ".")), frameMax)
	}
	return string(out)
}

// offsetOf reads the offset of an instruction in the code section, as the engine
// writes it under a frame: "\t0x1f: c:1".
func offsetOf(line string) (at uint32, ok bool) {
	hex, ok := strings.CutPrefix(line, "\t0x")
	hex, _, colon := strings.Cut(hex, ":")
	n, err := strconv.ParseUint(hex, 16, 32)
	return uint32(n), ok && colon && err == nil
}

// appendPlace appends " at file:line", if they are known.
func (m *Module) appendPlace(out []byte, at uint32) []byte {
	original := m.metered.Offsets.Original(at)
	if original == 0 {
		return out
	}
	file, line, ok := m.lines().Find(original)
	if !ok {
		return out
	}
	out = append(out, " at "...)
	out = appendEscaped(out, []byte(file), frameMax)
	return fmt.Appendf(out, ":%d", line)
}
