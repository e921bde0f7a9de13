package runtime

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"github.com/klamm-io/klamm/sdk/abi"
)

// log hands a line to the Host, cut and escaped.
func (in *instance) log(level int32, line []byte) {
	in.watch.charge(hostUnits)
	in.escaped = appendEscaped(in.escaped[:0], in.secrets.scrub(line), abi.LogLineMax)
	level = min(max(level, abi.LogDebug), abi.LogError)
	if level == abi.LogError {
		in.remember(in.escaped)
	}
	in.host.Log(level, in.escaped)
}

// print takes what the guest writes to stdout (1) and stderr (2), by lines.
func (in *instance) print(fd uint32, b []byte) {
	line := &in.printed[fd-1]
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		part := b
		if end >= 0 {
			part = b[:end]
		}
		room := max(abi.LogLineMax+1-len(*line), 0) // one more, so that log sees that it cut
		*line = append(*line, part[:min(len(part), room)]...)
		if end < 0 {
			return
		}
		in.printLine(fd)
		b = b[end+1:]
	}
}

// printLine ends a line that was printed. What goes to stderr is remembered:
// when a language runtime gives up, that is where it says why.
func (in *instance) printLine(fd uint32) {
	line := &in.printed[fd-1]
	if len(*line) == 0 {
		return
	}
	in.escaped = appendEscaped(in.escaped[:0], in.secrets.scrub(*line), abi.LogLineMax)
	*line = (*line)[:0]
	if fd == 2 {
		in.remember(in.escaped)
	}
	if in.cfg.Grants.Has(GrantLog) {
		in.host.Log(level(fd), in.escaped)
	}
}

// remember keeps the first 1 KiB that a call said about its troubles.
func (in *instance) remember(line []byte) {
	if len(in.said) > 0 && len(in.said) < abi.LogLineMax {
		in.said = append(in.said, '\n')
	}
	in.said = append(in.said, line[:min(len(line), max(abi.LogLineMax-len(in.said), 0))]...)
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends line with everything escaped that a terminal or a log
// reader might act on (control and format characters, line and paragraph ends,
// bytes that are no UTF-8), and cut to at most limit bytes, with "..." at the cut.
func appendEscaped(dst, line []byte, limit int) []byte {
	start := len(dst)
	for i := 0; i < len(line); {
		before := len(dst)
		c, size := utf8.DecodeRune(line[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			dst = append(dst, '\\', 'x', hexDigits[line[i]>>4], hexDigits[line[i]&15])
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case unprintable(c):
			dst = append(dst, '\\', 'u', '{')
			for shift := 20; shift >= 0; shift -= 4 {
				if c>>shift != 0 || shift == 0 {
					dst = append(dst, hexDigits[c>>shift&15])
				}
			}
			dst = append(dst, '}')
		default:
			dst = append(dst, line[i:i+size]...)
		}
		const dots = "..."
		if i += size; len(dst)-start > limit || len(dst)-start > limit-len(dots) && i < len(line) {
			return append(dst[:min(before, start+limit-len(dots))], dots...)
		}
	}
	return dst
}

func unprintable(c rune) bool {
	if c >= ' ' && c < 0x7f {
		return false
	}
	return unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co)
}
