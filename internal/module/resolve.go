package module

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klamm-io/klamm/plugins"
)

// sizeMax is the largest module that is read; the runtime takes no larger one.
const sizeMax = 16 << 20

// Module is a resolved module.
type Module struct {
	// Ref is the reference as configured, Path the file or folder that it led
	// to, "" for a builtin.
	Ref, Path string
	// Wasm is the module's bytes. Those of a builtin are shared: do not write.
	Wasm []byte
	// Env is the guest's WASI environment.
	Env map[string]string
	// Watch lists the files and folders whose change asks for a reload.
	Watch []string
	// Manifest is the manifest (JSON) of a builtin, nil for anything else: a module
	// that we ship may use what its manifest names, without being granted it.
	Manifest []byte
}

// Resolve returns the bytes behind ref: a file, a folder of source, or
// builtin:NAME. Relative paths start at baseDir. cacheDir keeps what is built
// from source; with "" nothing is kept. It is safe for concurrent use.
func Resolve(ctx context.Context, ref, baseDir, cacheDir string) (*Module, error) {
	if name, ok := strings.CutPrefix(ref, "builtin:"); ok {
		return builtin(ref, name)
	}
	if scheme, _, ok := strings.Cut(ref, "://"); ok {
		return nil, fmt.Errorf("module %q: modules are not fetched by %s; use a file, a folder of source, or builtin:NAME", ref, scheme)
	}
	if ref == "" {
		return nil, errors.New("module is empty; use a file, a folder of source, or builtin:NAME")
	}
	path := ref
	if !filepath.IsAbs(path) {
		path = filepath.Join(baseDir, path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("module %q: nothing is at %s; build it, or mend the path, which starts at %s: %w", ref, path, orHere(baseDir), err)
	case err != nil:
		return nil, fmt.Errorf("module %q: %w", ref, err)
	case info.IsDir():
		return fromSource(ctx, ref, path, cacheDir)
	}
	return file(ref, path)
}

func orHere(dir string) string {
	if dir == "" {
		return "the working directory"
	}
	return dir
}

func builtin(ref, name string) (*Module, error) {
	wasm, env, ok := plugins.Builtin(name)
	if !ok {
		hint := ""
		if near := nearest(name, plugins.Names()); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", "builtin:"+near)
		}
		return nil, fmt.Errorf("module %q: no such builtin%s (there are %s)", ref, hint, strings.Join(plugins.Names(), ", "))
	}
	return &Module{Ref: ref, Wasm: wasm, Env: env, Manifest: plugins.Manifest(name)}, nil
}

func file(ref, path string) (*Module, error) {
	if strings.HasSuffix(path, ".go") {
		return nil, fmt.Errorf("module %q: a single Go file is not built; name its folder, %q", ref, filepath.Dir(path))
	}
	wasm, err := readModule(path)
	if err != nil {
		return nil, fmt.Errorf("module %q: %w", ref, err)
	}
	return &Module{Ref: ref, Path: path, Wasm: wasm, Watch: []string{path}}, nil
}

// readModule reads a file of at most sizeMax bytes. What is larger is not read
// into memory first.
func readModule(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, sizeMax+1))
	if err != nil {
		return nil, err
	}
	if len(b) > sizeMax {
		return nil, fmt.Errorf("%s is larger than %d MiB, the limit for modules", path, sizeMax>>20)
	}
	return b, nil
}

func fromSource(ctx context.Context, ref, dir, cacheDir string) (*Module, error) {
	if cacheDir == "" {
		temp, err := os.MkdirTemp("", "klamm-build-")
		if err != nil {
			return nil, fmt.Errorf("module %q: %w", ref, err)
		}
		defer os.RemoveAll(temp)
		cacheDir = temp
	}
	s, err := open(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("module %q: %w", ref, err)
	}
	built, err := s.build(ctx, cacheDir)
	if err != nil {
		return nil, fmt.Errorf("module %q: %w", ref, err)
	}
	wasm, err := readModule(built)
	if err != nil {
		return nil, fmt.Errorf("module %q: %w", ref, err)
	}
	return &Module{Ref: ref, Path: dir, Wasm: wasm, Watch: s.watched()}, nil
}

// nearest returns the name that word is likely to be a slip of, or "".
func nearest(word string, names []string) string {
	best, least := "", 3
	for _, n := range names {
		if d := distance(word, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
