// Command genbuiltin builds the ready-made plugins into the one module that is
// embedded in package plugins. Run it in the folder plugins, or as
//
//	go generate ./plugins
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	goruntime "runtime"

	"github.com/klamm-io/klamm/internal/module"
)

func main() {
	if err := generate(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "genbuiltin:", err)
		os.Exit(1)
	}
}

func generate(ctx context.Context) error {
	temp, err := os.MkdirTemp("", "klamm-builtin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	path, err := module.Build(ctx, "builtin", "", temp)
	if err != nil {
		return err
	}
	wasm, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	packed, err := pack(wasm)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "builtin.wasm.gz: %d bytes, %d unpacked, %s\n", len(packed), len(wasm), goruntime.Version())
	return os.WriteFile("builtin.wasm.gz", packed, 0o644)
}

// pack compresses the module. The comment holds the Go version, which whoever
// wants to compare bytes must have.
func pack(wasm []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w.Comment = goruntime.Version()
	if _, err := w.Write(wasm); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
