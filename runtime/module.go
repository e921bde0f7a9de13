package runtime

import (
	"context"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Module is a compiled module.
type Module struct{}

// Digest returns the SHA-256 of the module's bytes, in hex.
func (m *Module) Digest() string { return "" }

// Hooks returns the hooks that the module exports.
func (m *Module) Hooks() abi.HookMask { return 0 }

// Imports returns the imports as "module.name", sorted.
func (m *Module) Imports() []string { return nil }

// Manifest returns what the module says of itself.
func (m *Module) Manifest() Manifest { return Manifest{} }

// Size returns the module's size in bytes.
func (m *Module) Size() int { return 0 }

// Close releases the compiled code once its last instance is closed.
func (m *Module) Close(ctx context.Context) error { return nil }
