package runtime

import "encoding/json"

// Manifest is what a module says of itself in its custom section
// klamm.manifest, as JSON. It is zero when the module has none.
type Manifest struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	License  string `json:"license"`
	MinMinor int    `json:"min_minor"` // least minor version of the ABI that it needs
	// State says where the plugin keeps what it remembers: "none" (default),
	// "host" or "instance".
	State string `json:"state"`
	// Protects is set by plugins that must not be skipped, as masking ones.
	Protects     bool            `json:"protects"`
	Capabilities []string        `json:"capabilities"`
	ConfigSchema json.RawMessage `json:"config_schema"`
}
