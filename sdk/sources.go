// Package sdk holds the sources of the SDKs, which `klamm plugin new` copies into
// a plugin, so that it builds without a network. Plugins in Go import sdk/plugin.
package sdk

import "embed"

// Sources holds sdk/abi and sdk/plugin, which are the Go SDK, tests included, and
// the folders of the other languages.
//
//go:embed abi/*.go plugin/*.go c/*.h rust/Cargo.toml rust/src/*.rs assemblyscript/*.ts
var Sources embed.FS
