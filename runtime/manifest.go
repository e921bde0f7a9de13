package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Manifest is what a module says of itself in its custom section
// klamm.manifest, as JSON. It is zero when the module has none. Members that this
// version does not know are ignored.
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
	Capabilities []string        `json:"capabilities"` // as ParseGrant knows them
	ConfigSchema json.RawMessage `json:"config_schema"`
}

// ParseManifest reads a manifest. The error tells all that is wrong with it.
func ParseManifest(b []byte) (Manifest, error) {
	m, problems := parseManifest(b)
	if len(problems) > 0 {
		return m, errors.New(strings.Join(problems, "; "))
	}
	return m, nil
}

// parseManifest reads the section's bytes and returns what is wrong with them.
func parseManifest(b []byte) (m Manifest, problems []string) {
	if b == nil {
		return m, nil
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&m); err != nil {
		return Manifest{}, []string{fmt.Sprintf("section %s is not the JSON it must be: %v", abi.ManifestSection, err)}
	}
	if m.State == "" {
		m.State = "none"
	}
	if m.State != "none" && m.State != "host" && m.State != "instance" {
		problems = append(problems, fmt.Sprintf("manifest: state %q; must be none, host or instance", m.State))
	}
	if m.MinMinor > abi.Minor {
		problems = append(problems, fmt.Sprintf(
			"the plugin needs version %d.%d of the ABI, this host speaks %d.%d; update the host",
			abi.Major, m.MinMinor, abi.Major, abi.Minor))
	}
	for _, c := range m.Capabilities {
		if _, ok := ParseGrant(c); !ok {
			problems = append(problems, fmt.Sprintf("manifest: unknown capability %q", c))
		}
	}
	return m, problems
}
