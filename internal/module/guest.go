package module

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// guest is the folder of a plugin in a language other than Go.
type guest struct {
	lang Language
	dir  string
	// source is the file to compile, from dir on.
	source string
	// sdk is the folder of the SDK, include where a C compiler looks for headers.
	sdk      string
	include  []string
	manifest []byte
	folders  []string // that hold what can be edited
	digest   string   // of all sources and the compiler
}

// sdkFolder is where a plugin has its copy of the SDK.
const sdkFolder = "klamm"

// inspectGuest looks at the folder of a plugin. Its SDK lies in the folder klamm
// below, if not in sdk; include holds what it includes from elsewhere.
func inspectGuest(ctx context.Context, lang Language, dir, source, sdk string, include ...string) (*guest, error) {
	manifest, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	version, err := compilers[lang].version(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("building %s needs %s, or build the module elsewhere and name the .wasm file: %w", dir, lang, err)
	}
	if sdk == "" {
		sdk = sdkFolder
	}
	g := &guest{lang: lang, dir: dir, source: source, sdk: sdk, include: append([]string{sdk}, include...), manifest: manifest}
	return g, g.hash(version)
}

// hash reads every file of the plugin and of what it includes: these languages
// have nobody to ask which of them count.
func (g *guest) hash(version string) error {
	h := sha256.New()
	fmt.Fprintf(h, "klamm build 1\n%s\n%s%q %q\n%q\n", g.lang, version, flagsC, flagsAssemblyScript, g.manifest)
	roots := append([]string{g.dir}, g.include...)
	for _, root := range roots {
		if !filepath.IsAbs(root) && root != g.dir {
			continue // it lies in the folder
		}
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				if d.Name() == "node_modules" || d.Name() == "target" {
					return fs.SkipDir
				}
				g.folders = append(g.folders, path)
				return nil
			}
			if !slices.Contains([]string{".c", ".h", ".rs", ".ts"}, filepath.Ext(path)) {
				return nil
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			fmt.Fprintf(h, "%q %d\n", filepath.ToSlash(name), len(b))
			h.Write(b)
			return err
		})
		if err != nil {
			return err
		}
	}
	g.digest = hex.EncodeToString(h.Sum(nil))
	return nil
}

func (g *guest) build(ctx context.Context, cacheDir string) (string, error) {
	return kept(cacheDir, g.digest, g.manifest, func(out string) error {
		return compilers[g.lang].build(ctx, g, out)
	})
}

func (g *guest) watched() []string { return g.folders }

// BuildGuest compiles a plugin whose SDK lies in the folder sdk, and includes in
// others, and returns its module. What is in cacheDir is not built again.
func BuildGuest(ctx context.Context, lang Language, dir, sdk, cacheDir string, include ...string) ([]byte, error) {
	have, source, err := languageOf(dir)
	if err == nil && have != lang {
		err = fmt.Errorf("folder %s holds %s, not %s", dir, have, lang)
	}
	if err != nil {
		return nil, err
	}
	g, err := inspectGuest(ctx, lang, dir, source, sdk, include...)
	if err != nil {
		return nil, err
	}
	path, err := g.build(ctx, cacheDir)
	if err != nil {
		return nil, err
	}
	return readModule(path)
}

// CompilerVersion names the compiler of a language.
func CompilerVersion(ctx context.Context, lang Language) (string, error) {
	return compilers[lang].version(ctx, ".")
}
