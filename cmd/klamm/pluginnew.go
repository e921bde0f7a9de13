package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/sdk"
)

// The files carry .txt so that nothing takes them for a part of this module.
//
//go:embed scaffold
var scaffold embed.FS

func (a *app) pluginNewCommand() *cobra.Command {
	var lang, dir string
	cmd := &cobra.Command{
		Use: "new NAME", Short: "scaffold a plugin, with its SDK, cases and configuration",
		Long: `Writes a folder with a plugin that works, its test cases and a configuration that
runs it. The SDK is copied into internal/klamm, so that it builds without a network.`,
		Example: `  klamm plugin new redact && cd redact && klamm plugin test`,
		Args:    exactly("NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			if lang != "go" {
				return usagef("--lang %q: there is go", lang)
			}
			if dir == "" {
				dir = args[0]
			}
			return a.newPlugin(args[0], dir)
		},
	}
	cmd.Flags().StringVar(&lang, "lang", "go", "`language`: go")
	cmd.Flags().StringVar(&dir, "dir", "", "`folder` to write (default: NAME)")
	return cmd
}

// pluginName fits a TOML table, a Go module and a file name.
var pluginName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

func (a *app) newPlugin(name, dir string) error {
	if !pluginName.MatchString(name) {
		return usagef("plugin name %q: it is a letter a-z, then letters, digits and -, at most 63", name)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return todo(fmt.Errorf("folder %q is not empty", dir), "choose another with --dir, or empty it")
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	files, err := scaffoldFiles(name)
	if err != nil {
		return err
	}
	for _, file := range sortedKeys(files) {
		target := filepath.Join(dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, []byte(files[file]), 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintln(a.out, dir)
	a.say("next: cd %s && klamm plugin test", dir)
	return nil
}

// scaffoldFiles returns the text of each file of a new plugin.
func scaffoldFiles(name string) (map[string]string, error) {
	files := map[string]string{
		"go.mod":     fmt.Sprintf("module %s\n\ngo 1.26\n", name),
		".gitignore": "*.wasm\n",
	}
	fill := strings.NewReplacer("NAME_IDENT", strings.ReplaceAll(name, "-", "_"), "NAME", name, "KLAMM_VERSION", version().Version)
	for file, place := range map[string]string{
		"main.go": "main.go", "README.md": "README.md", "klamm.json": "klamm.json", "config.toml": "config.toml", "cases.toml": "testdata/cases.toml",
	} {
		text, err := scaffold.ReadFile("scaffold/" + file + ".txt")
		if err != nil {
			return nil, err
		}
		files[place] = fill.Replace(string(text))
	}
	return files, addSDK(files, name)
}

// addSDK copies the SDK's sources under internal/klamm and makes them import
// each other there.
func addSDK(files map[string]string, name string) error {
	return fs.WalkDir(sdk.Go, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := sdk.Go.ReadFile(file)
		if err != nil {
			return err
		}
		files[path.Join("internal/klamm", file)] = strings.ReplaceAll(string(text), `"github.com/klamm-io/klamm/sdk/`, `"`+name+`/internal/klamm/`)
		return nil
	})
}
