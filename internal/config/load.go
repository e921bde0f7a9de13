package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// Options are what Parse takes from outside the text. The zero value takes the
// process's environment and the file system.
type Options struct {
	// LookupEnv resolves ${env:NAME}. Default os.LookupEnv.
	LookupEnv func(name string) (string, bool)
	// ReadFile resolves ${file:PATH}. Default reads at most 64 KiB of the file.
	ReadFile func(path string) ([]byte, error)
	// Natives become Config.Natives.
	Natives []string
	// Offline: no broker is to be reached. The files of [cluster.tls], which may be
	// on another machine or for another user, are not read.
	Offline bool
}

// Load reads the configuration file at path. Where the file has mistakes, the
// error is a *Problems with all of them. natives are the names that chains may
// use besides those of plugins. Warnings are no error; LoadAll tells
// them too.
func Load(path string, natives ...string) (*Config, error) {
	c, problems, err := LoadAll(path, natives...)
	if err != nil {
		return nil, err
	}
	return c, problems.Err()
}

// LoadAll is Load for those who want the warnings. The error is that of
// reading the file; the Config is nil when problems holds an error.
func LoadAll(path string, natives ...string) (*Config, *Problems, error) {
	return load(path, Options{Natives: natives})
}

// LoadOffline is Load for what reaches no broker: see Options.Offline.
func LoadOffline(path string) (*Config, error) {
	c, problems, err := load(path, Options{Offline: true})
	if err != nil {
		return nil, err
	}
	return c, problems.Err()
}

func load(path string, o Options) (*Config, *Problems, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return nil, nil, err
	}
	c, problems := Parse(path, text, o)
	if info, err := file.Stat(); err == nil && c != nil && info.Mode().Perm()&0o077 != 0 {
		warnOfReadableSecrets(c, problems, info.Mode().Perm())
	}
	return c, problems, nil
}

// Parse reads a configuration. path names it in problems and is where relative
// files start. The Config has every default filled in; it is nil when the
// problems hold an error. Problems is never nil. Neither argument is kept but
// for text, which must not change afterwards.
func Parse(path string, text []byte, o Options) (*Config, *Problems) {
	source := newSource(path, text)
	problems := NewProblems(source)
	problems.unknownIn = map[string]bool{}
	tree := parseTree(source, problems)
	if tree == nil {
		return nil, problems
	}
	c := Default()
	c.Source, c.Natives = source, o.Natives
	d := &decoder{source: source, expander: o.expander(path), problems: problems, config: &c}
	d.table(nil, tree, reflect.ValueOf(&c).Elem())
	c.anchor(filepath.Dir(path))
	c.check(problems, o.Offline)
	if problems.Errors() > 0 {
		problems.sound = c.sound(problems)
		return nil, problems
	}
	c.ApplyDefaults()
	return &c, problems
}

// anchor makes relative paths start at the configuration's folder. Those of
// modules and state files stay as they are written: the host anchors them.
func (c *Config) anchor(dir string) {
	t := &c.Cluster.TLS
	for _, p := range []*string{&t.CAFile, &t.CertFile, &t.KeyFile, &c.Cluster.Embedded.DataDir, &c.Plugins.CacheDir} {
		*p = under(dir, *p)
	}
	if socket, ok := strings.CutPrefix(c.Admin.Listen, "unix:"); ok {
		c.Admin.Listen = "unix:" + under(dir, socket)
	}
}

func under(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func (o Options) expander(path string) *expander {
	x := &expander{lookupEnv: o.LookupEnv, readFile: o.ReadFile, dir: filepath.Dir(path)}
	if x.lookupEnv == nil {
		x.lookupEnv = os.LookupEnv
	}
	if x.readFile == nil {
		x.readFile = readSecretFile
	}
	return x
}

func readSecretFile(path string) ([]byte, error) { return readAtMost(path, maxSecretFile+1) }

func readAtMost(path string, n int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, n))
}

// parseTree reads the text as TOML and indexes it. It returns nil after it has
// reported why it cannot.
func parseTree(s *Source, problems *Problems) map[string]any {
	if len(s.Text) > maxFileSize {
		problems.addAt(Place{}, nil, Error, fmt.Sprintf("the file is larger than %s", Size(maxFileSize)), "is it a configuration?")
		return nil
	}
	s.index = scan(s.text, s.bom)
	if s.index.tooDeep.valid() {
		problems.addAt(s.place(s.index.tooDeep), nil, Error, fmt.Sprintf("tables, lists or keys nest deeper than %d", maxDepth), "")
		return nil
	}
	s.markSecrets()
	var tree map[string]any
	meta, err := decodeTOML(s.text, &tree)
	if err != nil {
		reportSyntax(s, problems, err)
		return nil
	}
	if tree == nil {
		tree = map[string]any{}
	}
	if !sameKeys(s.index.keys, meta.Keys()) {
		// A mistake of the index, which its fuzz test has not found. Values come
		// from the library, so they are right; only the places are lost.
		s.index = &index{root: &node{kind: tableNode}}
		problems.addAt(Place{}, nil, Warning, "the places of keys in this file are not known", "please report the file's form as a bug")
	}
	return tree
}

// decodeTOML makes an error of the panics by which the library tells its own
// bugs.
func decodeTOML(text string, tree *map[string]any) (meta toml.MetaData, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the TOML reader gave up: %v", r)
		}
	}()
	return toml.Decode(text, tree)
}

func sameKeys(ours [][]string, theirs []toml.Key) bool {
	if len(ours) != len(theirs) {
		return false
	}
	for i := range ours {
		if len(ours[i]) != len(theirs[i]) || joinPath(ours[i]) != joinPath(theirs[i]) {
			return false
		}
	}
	return true
}

// reportSyntax reports the library's error at its place.
func reportSyntax(s *Source, problems *Problems, err error) {
	var syntax toml.ParseError
	if !errors.As(err, &syntax) {
		problems.addAt(s.place(span{s.bom, s.bom + 1}), nil, Error, strings.TrimPrefix(err.Error(), "toml: "), "")
		return
	}
	start := syntax.Position.Start + s.bom
	if strings.HasPrefix(syntax.Message, "TOML files cannot contain control") {
		start++ // the library points at the character before
	}
	at := s.place(span{start, start + max(1, syntax.Position.Len)})
	if t := s.index.twice; t != nil && strings.Contains(syntax.Message, "already been") {
		problems.addAt(s.place(t.second), t.path, Error, fmt.Sprintf("%s is given twice", pathName(t.path)),
			fmt.Sprintf("the first is on line %d", s.place(t.first).Line))
		return
	}
	what := syntax.Message
	if s.secretFrom(at.Line-1) >= 0 {
		what = "this is not TOML (the value is not shown)" // the message may quote it
	}
	problems.addAt(at, nil, Error, what, syntaxSuggestion(what))
}

func syntaxSuggestion(what string) string {
	switch {
	case strings.HasPrefix(what, "expected value but found"):
		return `strings stand in quotes: "text"`
	case strings.HasPrefix(what, "strings cannot contain newlines"):
		return "a quote is missing, or use \"\"\" for several lines"
	case strings.HasPrefix(what, "expected '.' or '='"):
		return "a line is: key = value"
	}
	return ""
}

// warnOfReadableSecrets warns when secrets stand in a file that others of the
// machine can read.
func warnOfReadableSecrets(c *Config, problems *Problems, mode os.FileMode) {
	for _, path := range c.literalSecrets() {
		problems.Add(path, Warning, fmt.Sprintf("%s stands in clear in a file of mode %04o", pathName(path), mode),
			"use ${file:PATH} or ${env:NAME}, or chmod 600 the file")
	}
}

// literalSecrets lists the secrets that are written in the file itself.
func (c *Config) literalSecrets() (paths [][]string) {
	add := func(s Secret, path ...string) {
		n := c.Source.find(path)
		if s == "" || n == nil || !n.value.valid() {
			return
		}
		if !strings.Contains(c.Source.text[n.value.start:n.value.end], "${") {
			paths = append(paths, path)
		}
	}
	add(c.Cluster.SASL.Password, "cluster", "sasl", "password")
	add(c.Admin.Token, "admin", "token")
	for _, name := range sortedKeys(c.Plugin) {
		for _, secret := range sortedKeys(c.Plugin[name].Secrets) {
			add(c.Plugin[name].Secrets[secret], "plugin", name, "secrets", secret)
		}
	}
	return paths
}

func (c *Config) isSet(path ...string) bool { return c.Source.Has(path...) }
