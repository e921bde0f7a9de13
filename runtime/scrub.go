package runtime

import "bytes"

// scrubbed stands for a secret in what a guest says.
var scrubbed = []byte("[redacted]")

// scrubMin is the length of the shortest secret that is looked for: a shorter
// one would garble what is said and hide nothing.
const scrubMin = 4

// secrets are the values that a guest must not tell.
type secrets [][]byte

// secretsOf lists what the configuration says, and the keys of hmac.
func secretsOf(cfg *PluginConfig) (s secrets) {
	add := func(v []byte) {
		if len(v) >= scrubMin {
			s = append(s, v)
		}
	}
	for _, v := range cfg.Secrets {
		add(v)
	}
	for _, v := range cfg.Hidden {
		add(v)
	}
	return s
}

// scrub returns b, or a copy of it without secrets.
func (s secrets) scrub(b []byte) []byte {
	for _, v := range s {
		if bytes.Contains(b, v) {
			b = bytes.ReplaceAll(b, v, scrubbed)
		}
	}
	return b
}

func (s secrets) in(name string) bool {
	for _, v := range s {
		if bytes.Contains([]byte(name), v) {
			return true
		}
	}
	return false
}
