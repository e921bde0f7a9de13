// Package sdk holds the sources of the Go SDK, which `klamm plugin new` copies
// into a plugin, so that it builds without a network. Plugins import sdk/plugin.
package sdk

import "embed"

// Go is the source of sdk/abi and sdk/plugin, tests included.
//
//go:embed abi/*.go plugin/*.go
var Go embed.FS
