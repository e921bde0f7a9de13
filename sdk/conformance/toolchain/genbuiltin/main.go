// Command genbuiltin builds the ready-made plugins that are embedded in package
// plugins, each beside its source, and notes the compiler. Run it in the folder
// plugins, or as
//
//	go generate ./plugins
//
// With -check it writes nothing and says what differs from what is there.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/sdk/conformance/toolchain"
)

// sizeMax keeps the modules small: the compiler has to be run on them in every
// process that uses them.
const sizeMax = 32 << 10

const builtBy = "builtin.txt"

func main() {
	check := flag.Bool("check", false, "compare only")
	flag.Parse()
	if err := generate(context.Background(), *check); err != nil {
		fmt.Fprintln(os.Stderr, "genbuiltin:", err)
		os.Exit(1)
	}
}

func generate(ctx context.Context, check bool) error {
	version, err := module.CompilerVersion(ctx, module.C)
	if errors.Is(err, toolchain.ErrMissing) && check {
		fmt.Println("skipped:", err)
		return nil
	}
	if err != nil {
		return err
	}
	if have, _ := os.ReadFile(builtBy); check && string(have) != version {
		fmt.Printf("skipped: the embedded modules were built by\n%sthis is\n%s", have, version)
		return nil
	}
	for _, name := range []string{"dedup", "mask", "route-by"} {
		if err := one(ctx, name, check); err != nil {
			return err
		}
	}
	if check {
		fmt.Println("the embedded modules match their sources")
		return nil
	}
	return os.WriteFile(builtBy, []byte(version), 0o644)
}

func one(ctx context.Context, name string, check bool) error {
	wasm, err := toolchain.Build(ctx, module.C, filepath.Join(name, "c"))
	if err != nil {
		return err
	}
	file := filepath.Join(name, "c", name+".wasm")
	if len(wasm) > sizeMax {
		return fmt.Errorf("%s would have %d bytes, the limit is %d", file, len(wasm), sizeMax)
	}
	if !check {
		fmt.Fprintf(os.Stderr, "%s: %d bytes\n", file, len(wasm))
		return os.WriteFile(file, wasm, 0o644)
	}
	if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, wasm) {
		return fmt.Errorf("%s does not match its sources; run go generate ./plugins and commit it", file)
	}
	return nil
}
