package module

import "encoding/binary"

// manifestSection is the custom section that the runtime reads a manifest from.
const manifestSection = "klamm.manifest"

// WithManifest appends the manifest to a module as a custom section. Without one
// it returns the module as it is.
func WithManifest(wasm, manifest []byte) []byte {
	if manifest == nil {
		return wasm
	}
	body := binary.AppendUvarint(nil, uint64(len(manifestSection)))
	body = append(body, manifestSection...)
	body = append(body, manifest...)
	wasm = append(wasm[:len(wasm):len(wasm)], 0) // a custom section
	wasm = binary.AppendUvarint(wasm, uint64(len(body)))
	return append(wasm, body...)
}
