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
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/internal/module"
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
runs it. The SDK is copied into the folder, so that it builds without a network.`,
		Example: `  klamm plugin new redact && cd redact && klamm plugin test
  klamm plugin new redact --lang rust`,
		Args: exactly("NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, ok := scaffolds[module.Language(lang)]; !ok {
				return usagef("--lang %q: there are %s", lang, languageNames())
			}
			if dir == "" {
				dir = args[0]
			}
			return a.newPlugin(module.Language(lang), args[0], dir)
		},
	}
	cmd.Flags().StringVar(&lang, "lang", "go", "`language`: "+languageNames())
	cmd.Flags().StringVar(&dir, "dir", "", "`folder` to write (default: NAME)")
	_ = cmd.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions(strings.Split(languageNames(), ", "), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// pluginName fits a TOML table, a Go module and a file name.
var pluginName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

func (a *app) newPlugin(lang module.Language, name, dir string) error {
	if !pluginName.MatchString(name) {
		return usagef("plugin name %q: it is a letter a-z, then letters, digits and -, at most 63", name)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return todo(fmt.Errorf("folder %q is not empty", dir), "choose another with --dir, or empty it")
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	files, err := scaffoldFiles(lang, name)
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
	if a.json() {
		err = printJSON(a.out, map[string]any{"schema": "klamm.plugin-new/1", "name": name, "language": lang, "dir": dir, "files": sortedKeys(files)})
	} else {
		_, err = fmt.Fprintln(a.out, dir)
	}
	a.say("next: cd %s && klamm plugin test", dir)
	return err
}

// languageScaffold is what a new plugin has besides the files of all languages.
type languageScaffold struct {
	// files lead from scaffold/LANGUAGE to the place in the plugin.
	files map[string]string
	// ignored goes into .gitignore.
	ignored []string
	// sdk is where the SDK is copied to.
	sdk string
}

var scaffolds = map[module.Language]languageScaffold{
	module.Go:   {map[string]string{"main.go": "main.go"}, nil, "internal/klamm"},
	module.C:    {map[string]string{"plugin.c": "NAME_IDENT.c"}, nil, "klamm"},
	module.Rust: {map[string]string{"lib.rs": "src/lib.rs", "Cargo.toml": "Cargo.toml"}, []string{"/target/", "Cargo.lock"}, "klamm"},
	module.AssemblyScript: {map[string]string{"plugin.ts": "NAME_IDENT.ts", "package.json": "package.json"},
		[]string{"node_modules/", "package-lock.json"}, "klamm"},
}

func languageNames() string {
	var names []string
	for lang := range scaffolds {
		names = append(names, string(lang))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// scaffoldFiles returns the text of each file of a new plugin.
func scaffoldFiles(lang module.Language, name string) (map[string]string, error) {
	s := scaffolds[lang]
	files := map[string]string{".gitignore": strings.Join(append([]string{"*.wasm"}, s.ignored...), "\n") + "\n"}
	if lang == module.Go {
		files["go.mod"] = fmt.Sprintf("module %s\n\ngo 1.26\n", name)
	}
	places := map[string]string{"README.md": "README.md", "klamm.json": "klamm.json", "config.toml": "config.toml", "cases.toml": "testdata/cases.toml"}
	for file, place := range s.files {
		places[path.Join(string(lang), file)] = place
	}
	fill := strings.NewReplacer("NAME_IDENT", strings.ReplaceAll(name, "-", "_"), "NAME", name, "KLAMM_VERSION", version().Version, "SDK_FOLDER", s.sdk)
	for file, place := range places {
		text, err := scaffold.ReadFile("scaffold/" + file + ".txt")
		if err != nil {
			return nil, err
		}
		files[fill.Replace(place)] = fill.Replace(string(text))
	}
	return files, addSDK(files, lang, name, s.sdk)
}

// addSDK copies the SDK's sources into the folder to. Those in Go import each
// other there.
func addSDK(files map[string]string, lang module.Language, name, to string) error {
	return fs.WalkDir(sdk.Sources, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(file, "_test.go") {
			return err
		}
		place, text := strings.TrimPrefix(file, string(lang)+"/"), []byte(nil)
		if place == file && !(lang == module.Go && strings.HasSuffix(file, ".go")) {
			return nil // another language's
		}
		if text, err = sdk.Sources.ReadFile(file); err != nil {
			return err
		}
		files[path.Join(to, place)] = strings.ReplaceAll(string(text), `"github.com/klamm-io/klamm/sdk/`, `"`+name+`/internal/klamm/`)
		return nil
	})
}
