package mask

import "github.com/klamm-io/klamm/sdk/plugin"

// hashPrefix marks hashed values, so that nobody takes one for the real thing.
const hashPrefix = "h:"

// hashBytes is how much of the hash is shown: 128 bits do not collide by chance.
const hashBytes = 16

// appendMasked appends what stands in for the JSON value raw. Null stays null.
func (m *mask) appendMasked(raw []byte) error {
	if string(raw) == "null" {
		m.out = append(m.out, raw...)
		return nil
	}
	m.masked.Inc()
	switch m.mode.Get() {
	case "null":
		m.out = append(m.out, "null"...)
	case "hash":
		return m.appendHash(raw)
	case "partial":
		m.appendPartial(raw)
	default:
		m.appendFixed()
	}
	return nil
}

func (m *mask) appendFixed() {
	m.one = append(m.one[:0], m.replacement.Get()...)
	m.out = plugin.AppendJSONString(m.out, m.one)
}

// appendHash hashes what a string stands for, so that one text has one hash
// however it is escaped, and other values as they are written.
func (m *mask) appendHash(raw []byte) error {
	data, ok := plugin.JSONString(raw)
	if !ok {
		data = raw
	}
	sum, err := m.hash(data)
	if err != nil {
		return err
	}
	const hex = "0123456789abcdef"
	m.out = append(m.out, '"')
	m.out = append(m.out, hashPrefix...)
	for _, b := range sum[:hashBytes] {
		m.out = append(m.out, hex[b>>4], hex[b&15])
	}
	m.out = append(m.out, '"')
	return nil
}

// appendPartial shows the last letters and digits of a string or number and
// stars the others; what is neither stays, so that the form is kept. A value of
// which more than half would show is starred whole.
func (m *mask) appendPartial(raw []byte) {
	text, ok := plugin.JSONString(raw)
	if !ok {
		if c := raw[0]; c != '-' && (c < '0' || c > '9') {
			m.appendFixed() // true, false, arrays and objects have no last part
			return
		}
		text = raw
	}
	total := 0
	for _, c := range text {
		if hidden(c) {
			total++
		}
	}
	show := int(min(m.keep.Get(), 1<<20))
	if total < 2*show {
		show = 0
	}
	m.one = m.one[:0]
	for _, c := range text {
		switch {
		case continues(c):
			if total >= show {
				continue // of a character that a star stands for
			}
		case hidden(c):
			if total--; total >= show {
				c = '*'
			}
		}
		m.one = append(m.one, c)
	}
	m.out = plugin.AppendJSONString(m.out, m.one)
}

// hidden reports whether a character is to be starred, by its first byte: ASCII
// letters and digits, and everything beyond ASCII.
func hidden(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0xc0
}

// continues reports whether a byte is a later one of a character beyond ASCII.
func continues(c byte) bool { return c&0xc0 == 0x80 }
