package config

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func readFiles(files map[string]string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		if text, ok := files[path]; ok {
			return []byte(text), nil
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
}

func TestExpand(t *testing.T) {
	x := &expander{
		lookupEnv: func(name string) (string, bool) {
			v, ok := map[string]string{"A": "a", "EMPTY": "", "TRICK": "${env:A}\"\n[x]", "BAD": "\xff"}[name]
			return v, ok
		},
		readFile: readFiles(map[string]string{"/etc/s": "secret\n", "dir/rel": "r\r\n", "/nl": "a\n\n", "/big": strings.Repeat("x", maxSecretFile+1)}),
		dir:      "dir",
	}
	cases := []struct{ in, want, err string }{
		{in: "plain", want: "plain"},
		{in: "${env:A}", want: "a"},
		{in: "x${env:A}y${env:A}", want: "xaya"},
		{in: "${env:NONE}", err: `environment variable "NONE" is not set`},
		{in: "${env:NONE:-d:-e}", want: "d:-e"},
		{in: "${env:NONE:-}", want: ""},
		{in: "${env:EMPTY:-d}", want: "d"},
		{in: "${env:EMPTY}", want: ""},
		{in: "${env:EMPTY:?say}", err: "${env:EMPTY} is empty: say"},
		{in: "${env:NONE:?set it}", err: `environment variable "NONE" is not set: set it`},
		{in: "${env:TRICK}", want: "${env:A}\"\n[x]"}, // not expanded again
		{in: "${env:BAD}", err: "not UTF-8"},
		{in: "${env:}", err: "names no variable"},
		{in: "${file:/etc/s}", want: "secret"},
		{in: "${file:rel}", want: "r"},
		{in: "${file:/nl}", want: "a\n"},
		{in: "${file:/gone}", err: `file "/gone" does not exist`},
		{in: "${file:/gone:-d}", want: "d"},
		{in: "${file:/big}", err: "larger than 64KiB"},
		{in: "${file:}", err: "names no file"},
		{in: "${evn:A}", err: "${evn:} is unknown; did you mean ${env:}?"},
		{in: "${exec:ls}", err: "${exec:} is unknown"},
		{in: "${env:A", err: "no closing }"},
		{in: "$${env:A}", want: "${env:A}"},
		{in: "$$${env:A}", want: "$${env:A}"},
		{in: "${name} ${} ${A:x} $", want: "${name} ${} ${A:x} $"},
		{in: "${", want: "${"},
	}
	for _, c := range cases {
		t.Run(c.in, func(t *testing.T) {
			got, _, err := x.expand(c.in)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %q, %v; want error %q", got, err, c.err)
				}
				return
			}
			if got != c.want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestReferencesBecomeNumbers(t *testing.T) {
	c, problems := parse(t, "[cluster.embedded]\npartitions = \"${env:N}\"\n[producer]\nlinger_ms = \"${env:N}\"\npartitioner_ignore_keys = \"${env:B}\"\nbatch_size = \"${env:N}KiB\"\n",
		map[string]string{"N": "7", "B": "true"})
	if c == nil {
		t.Fatal(problems)
	}
	if c.Cluster.Embedded.Partitions != 7 || c.Producer.Linger != millis(7) || !c.Producer.PartitionerIgnoreKeys || c.Producer.BatchSize != 7<<10 {
		t.Errorf("got %+v", c)
	}
	// A plain string is still no number.
	if _, problems := parse(t, "[cluster.embedded]\npartitions = \"7\"\n", nil); problems.Errors() != 1 {
		t.Errorf("got %v", problems)
	}
}

// TestSecretsAreShownNowhere prints a configuration full of secrets, and the
// errors about it, in every way there is, and looks for them.
func TestSecretsAreShownNowhere(t *testing.T) {
	const canary = "c4n4ry"
	text := `
[cluster.tls]
enabled = true
[cluster.sasl]
mechanism = "PLAIN"
username = "u"
password = "c4n4ry"
[admin]
token = "c4n4ry"
[plugin.p]
module = "p.wasm"
[plugin.p.secrets]
salt = "c4n4ry"
[plugin.p.config]
api = "${env:API}"
list = ["${env:API}", { deep = "x ${env:API}" }]
`
	c, problems := parse(t, text, map[string]string{"API": canary})
	if c == nil {
		t.Fatal(problems)
	}
	if c.Cluster.SASL.Password.Reveal() != canary || c.Plugin["p"].Secrets["salt"].Reveal() != canary {
		t.Fatal("the secrets are gone")
	}
	table, err := PluginJSON(c.Plugin["p"].Config)
	if err != nil || strings.Count(string(table), canary) != 3 {
		t.Fatalf("the plugin does not get its secrets: %s, %v", table, err)
	}
	shown := map[string]string{"problems": problems.Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		shown[verb] = fmt.Sprintf(verb, *c) + fmt.Sprintf(verb, c) + fmt.Sprintf(verb, c.Cluster.SASL.Password) + fmt.Sprintf(verb, c.Plugin) + fmt.Sprintf(verb, c.Source)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	shown["JSON"] = string(asJSON)
	source, err := json.Marshal(c.Source)
	if err != nil {
		t.Fatal(err)
	}
	shown["source as JSON"] = string(source)
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(c); err != nil {
		t.Fatal(err)
	}
	shown["TOML"] = b.String()
	for name, h := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(h(&b)).Info("m", "c", c, "s", c.Cluster.SASL, "p", c.Cluster.SASL.Password, "t", c.Admin.Token, "src", c.Source, "plugin", c.Plugin)
		shown[name] = b.String()
	}
	for _, mistake := range []string{
		strings.Replace(text, "password", "pasword", 1),
		strings.Replace(text, "token =", "tokn =", 1),
		strings.Replace(text, `password = "c4n4ry"`, `password = c4n4ry`, 1),
		strings.Replace(text, `token = "c4n4ry"`, `token = "c4n4ry`, 1),
		strings.Replace(text, `salt = "c4n4ry"`, "salt = \"\"\"\nc4n4ry\n\"\"\" x", 1),
		strings.Replace(text, "[plugin.p.secrets]", "secrets = { a = 1, salty = \"c4n4ry\", x = }\n[plugin.p.secrets]", 1),
		"producer = { passwrd = \"c4n4ry\" }",
		"[producer]\nacks = \"${env:API}\"\nlinger_ms = \"${env:API}\"\nbatch_size = \"1${env:API}\"\nretries = \"${env:API}\"",
		"[log]\nlevel = \"${env:API}\"",
	} {
		_, problems := parse(t, mistake, map[string]string{"API": canary})
		if problems.Errors() == 0 {
			t.Errorf("no mistake: %s", mistake)
		}
		shown[mistake] = problems.Error()
	}
	for how, text := range shown {
		for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), base64.StdEncoding.EncodeToString([]byte(canary))[:6]} {
			if strings.Contains(text, form) {
				t.Errorf("%s shows the secret:\n%s", how, text)
			}
		}
	}
}

func TestSecretRoundTrip(t *testing.T) {
	var s Secret
	if err := s.UnmarshalText([]byte("x")); err != nil || s.Reveal() != "x" || s.String() != Redacted {
		t.Errorf("got %q, %v", s.Reveal(), err)
	}
	if Secret("").String() != "" {
		t.Error("no secret must look like none")
	}
}

func TestDurationsAndSizes(t *testing.T) {
	durations := []struct {
		text string
		want time.Duration
		back string
	}{
		{"5", 5 * time.Millisecond, "5ms"}, {"0", 0, "0s"}, {"500us", 500 * time.Microsecond, "500\u00b5s"},
		{"2m", 2 * time.Minute, "2m"}, {"120s", 2 * time.Minute, "2m"}, {"24h", 24 * time.Hour, "24h"}, {"1h30m", 90 * time.Minute, "1h30m"},
		{"10s", 10 * time.Second, "10s"}, {"1h0m10s", time.Hour + 10*time.Second, "1h0m10s"},
	}
	for _, c := range durations {
		var d Duration
		if err := d.UnmarshalText([]byte(c.text)); err != nil || d.Std() != c.want || d.String() != c.back {
			t.Errorf("%q: got %v (%s), %v", c.text, d.Std(), d, err)
		}
	}
	for _, bad := range []string{"", "5 ms", "-5", "-5ms", "x", "9223372036854775807", "1d", "5.5"} {
		var d Duration
		if err := d.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("duration %q accepted as %v", bad, d)
		}
	}
	sizes := []struct {
		text string
		want Size
		back string
	}{{"0", 0, "0"}, {"1", 1, "1"}, {"16KiB", 16384, "16KiB"}, {"16384", 16384, "16KiB"}, {"1 MiB", 1 << 20, "1MiB"}, {"3GiB", 3 << 30, "3GiB"}, {"1000B", 1000, "1000"}}
	for _, c := range sizes {
		var z Size
		if err := z.UnmarshalText([]byte(c.text)); err != nil || z != c.want || z.String() != c.back {
			t.Errorf("%q: got %d (%s), %v", c.text, int64(z), z, err)
		}
	}
	for _, bad := range []string{"", "KiB", "-1", "1.5MiB", "16KB", "16k", "16 kib", "1TiB", "9223372036854775808", "9223372036854775807KiB", "1mb", "1Mb"} {
		var z Size
		if err := z.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("size %q accepted as %v", bad, z)
		}
	}
}

// TestTextTypesAreTheirOwnInverse holds for every value that has a text.
func TestTextTypesAreTheirOwnInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Range(0, math.MaxInt64/2).Draw(t, "duration"))
		var d2 Duration
		if err := d2.UnmarshalText([]byte(d.String())); err != nil || d2 != d {
			t.Fatalf("%d -> %s -> %d, %v", d, d, d2, err)
		}
		z := Size(rapid.Int64Range(0, math.MaxInt64/2).Draw(t, "size"))
		var z2 Size
		if err := z2.UnmarshalText([]byte(z.String())); err != nil || z2 != z {
			t.Fatalf("%d -> %s -> %d, %v", z, z, z2, err)
		}
		c := Compression(rapid.IntRange(0, 4).Draw(t, "codec"))
		var c2 Compression
		if err := c2.UnmarshalText([]byte(c.String())); err != nil || c2 != c {
			t.Fatalf("%d -> %s -> %d, %v", c, c, c2, err)
		}
		a := Acks(rapid.IntRange(-1, 1).Draw(t, "acks"))
		var a2 Acks
		if err := a2.UnmarshalText([]byte(a.String())); err != nil || a2 != a {
			t.Fatalf("%d -> %s -> %d, %v", a, a, a2, err)
		}
	})
}

func TestMatchTopic(t *testing.T) {
	cases := []struct {
		pattern, topic string
		want           bool
	}{
		{"orders", "orders", true}, {"orders", "orders.eu", false}, {"orders.*", "orders.eu", true}, {"orders.*", "orders.", true},
		{"orders.*", "orders", false}, {"*", "", true}, {"*", "a.b", true}, {"*.eu", "orders.eu", true}, {"*.eu", "orders.eu2", false},
		{"a*b*c", "axxbyyc", true}, {"a*b*c", "axxbyy", false}, {"?", "a", true}, {"?", "", false}, {"a?c", "abc", true}, {"**a", "ba", true},
		{"*a*a*a*a*b", strings.Repeat("a", 60), false},
	}
	for _, c := range cases {
		if got := MatchTopic(c.pattern, c.topic); got != c.want {
			t.Errorf("MatchTopic(%q, %q) = %v", c.pattern, c.topic, got)
		}
	}
}

// slowMatch is MatchTopic by its definition.
func slowMatch(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		return slowMatch(p[1:], s) || s != "" && slowMatch(p, s[1:])
	}
	return s != "" && (p[0] == '?' || p[0] == s[0]) && slowMatch(p[1:], s[1:])
}

func TestMatchTopicAndOverlapByDefinition(t *testing.T) {
	var topics []string
	for n := range 5 { // all topics of up to four letters from a, b, c
		for i := range int(math.Pow(3, float64(n))) {
			s := ""
			for range n {
				s += string("abc"[i%3])
				i /= 3
			}
			topics = append(topics, s)
		}
	}
	pattern := rapid.StringMatching(`[ab*?]{0,4}`)
	rapid.Check(t, func(t *rapid.T) {
		p, q := pattern.Draw(t, "p"), pattern.Draw(t, "q")
		both := false
		for _, topic := range topics {
			if got, want := MatchTopic(p, topic), slowMatch(p, topic); got != want {
				t.Fatalf("MatchTopic(%q, %q) = %v", p, topic, got)
			}
			both = both || slowMatch(p, topic) && slowMatch(q, topic)
		}
		if got := overlap(p, q); got != both && !(got && len(p)+len(q) > 4) {
			t.Fatalf("overlap(%q, %q) = %v, want %v", p, q, got, both)
		}
	})
}

func TestChainFor(t *testing.T) {
	c := mustParse(t, `
[chain.all]
topics = ["*"]
[chain.orders]
topics = ["orders.*", "bills"]
[chain.eu]
topics = ["orders.eu"]
[chain.one]
topics = ["orders.e?"]
`)
	for topic, want := range map[string]string{"orders.eu": "eu", "orders.us": "orders", "orders.es": "one", "x": "all", "bills": "orders", "orders": "all"} {
		if got, ok := c.ChainFor(topic); got != want || !ok {
			t.Errorf("ChainFor(%q) = %q, %v, want %q", topic, got, ok, want)
		}
	}
	if got, ok := mustParse(t, "").ChainFor("x"); ok {
		t.Errorf("a chain without chains: %q", got)
	}
}

func TestPluginJSON(t *testing.T) {
	c := mustParse(t, `
[plugin.p]
module = "p.wasm"
[plugin.p.config]
z = 9223372036854775807
a = "q\"\u00e9<&>\u0001"
f = 1.0
g = 1e300
odt = 1979-05-27T07:32:00.5-07:00
ldt = 1979-05-27T07:32:00
ld = 1979-05-27
lt = 07:32:00
b = true
l = [1, "x", [2.5]]
e = {}
[[plugin.p.config.t]]
n = 1
[[plugin.p.config.t]]
n = 2
`)
	got, err := PluginJSON(c.Plugin["p"].Config)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"a":"q\"` + "\u00e9" + `<&>\u0001","b":true,"e":{},"f":1.0,"g":1e+300,"l":[1,"x",[2.5]],"ld":"1979-05-27","ldt":"1979-05-27T07:32:00",` +
		`"lt":"07:32:00","odt":"1979-05-27T07:32:00.5-07:00","t":[{"n":1},{"n":2}],"z":9223372036854775807}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := PluginJSON(nil); string(got) != "{}" || err != nil {
		t.Errorf("nil: got %s, %v", got, err)
	}
	for name, v := range map[string]any{"inf": math.Inf(1), "nan": math.NaN(), "chan": make(chan int)} {
		if _, err := PluginJSON(map[string]any{"x": []any{v}}); err == nil || !strings.Contains(err.Error(), "config.x[0]") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestDefaultsAreRight(t *testing.T) {
	c := Default()
	if problems := c.Check(); len(problems.All()) > 0 {
		t.Errorf("the defaults have problems:\n%v", problems)
	}
	loaded := mustParse(t, "")
	c.ApplyDefaults()
	loaded.Source = nil
	if diff := cmp.Diff(&c, loaded); diff != "" {
		t.Errorf("an empty file is not the defaults:\n%s", diff)
	}
	var zero Config
	zero.ApplyDefaults()
	if diff := cmp.Diff(c, zero); diff != "" {
		t.Errorf("the zero configuration does not become the defaults:\n%s", diff)
	}
}

func TestApplyDefaults(t *testing.T) {
	text := `
[producer]
linger_ms = 0
retries = 3
[consumer]
fetch_max_wait_ms = 0
[plugins]
memory = "32MiB"
log_lines_per_second = 0
[plugin.a]
module = "a.wasm"
[plugin.b]
module = "b.wasm"
memory = "1MiB"
[state.s]
max_bytes = 0
[admin]
listen = ""
[pipeline.x]
from = ["a"]
to = "b"
`
	c := mustParse(t, text)
	if c.Producer.Linger != 0 || c.Consumer.FetchMaxWait != 0 || c.Plugins.LogRate != 0 || c.State["s"].MaxBytes != 0 || c.Admin.Listen != "" {
		t.Errorf("zeros of the file are gone: %+v", c)
	}
	if c.Plugin["a"].Memory != 32<<20 || c.Plugin["b"].Memory != 1<<20 || c.Plugin["a"].Timeout != millis(50) {
		t.Errorf("plugins do not inherit: %+v", c.Plugin)
	}
	if c.Pipeline["x"].GroupID != "x" || !c.Producer.Idempotent() || *c.Producer.EnableIdempotence != true {
		t.Errorf("got %+v", c)
	}
	again := *c
	again.ApplyDefaults()
	if diff := cmp.Diff(*c, again, cmp.Comparer(func(a, b *Source) bool { return a == b })); diff != "" {
		t.Errorf("applying twice changes it:\n%s", diff)
	}
	built := Config{Plugin: map[string]Plugin{"p": {Module: "p.wasm"}}, Chain: map[string]Chain{"c": {Topics: []string{"t"}, OnSend: []string{"p"}}}}
	if problems := built.Check(); len(problems.All()) > 0 {
		t.Errorf("built in Go: %v", problems)
	}
	if built.Chain["c"].Lanes != 0 {
		t.Error("Check changed the configuration")
	}
	built.ApplyDefaults()
	if built.Chain["c"].Lanes != 1 || built.Plugin["p"].OnError != Fail || built.Plugin["p"].Memory != 16<<20 {
		t.Errorf("got %+v", built)
	}
}

func TestAcknowledgementList(t *testing.T) {
	c := mustParse(t, "[plugin.p]\nmodule = \"p.wasm\"\n[chain.a]\ntopics = [\"a\"]\non_send = [\"p\"]\n[chain.b]\ntopics = [\"b\"]\non_send = [\"p\"]\non_acknowledgement = []\n")
	a, b := c.Chain["a"], c.Chain["b"]
	if got := a.AcknowledgementList(); len(got) != 1 {
		t.Errorf("not given: %q", got)
	}
	if got := b.AcknowledgementList(); len(got) != 0 {
		t.Errorf("given empty: %q", got)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if _, err := Load(filepath.Join(dir, "gone.toml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Load(dir); err == nil || strings.Contains(err.Error(), "panic") {
		t.Errorf("a folder: %v", err)
	}
	var problems *Problems
	_, err := Load(write("bad.toml", "x = 1", 0o600))
	if !errors.As(err, &problems) || problems.Errors() != 1 {
		t.Errorf("a mistake: %v", err)
	}
	_, err = Load(write("large.toml", "# "+strings.Repeat("x", 10<<20), 0o600))
	if err == nil || !strings.Contains(err.Error(), "larger than 1MiB") {
		t.Errorf("a large file: %v", err)
	}
	write("password", "from a file\n", 0o600)
	sasl := "[cluster.tls]\nenabled = true\n[cluster.sasl]\nmechanism = \"PLAIN\"\nusername = \"u\"\npassword = "
	c, err := Load(write("file.toml", sasl+"\"${file:password}\"", 0o644))
	if err != nil || c.Cluster.SASL.Password.Reveal() != "from a file" {
		t.Errorf("relative to the file: %v", err)
	}
	_, problems, err = LoadAll(write("open.toml", sasl+"\"x\"\n[plugin.p]\nmodule = \"x\"\nsecrets = { s = \"y\" }\n[chain.c]\ntopics = [\"t\"]\non_send = [\"p\"]", 0o644))
	if err != nil || problems.Warnings() != 2 || !strings.Contains(problems.Error(), "cluster.sasl.password stands in clear in a file of mode 0644") {
		t.Errorf("a secret that others can read: %v, %v", problems, err)
	}
	_, problems, err = LoadAll(write("closed.toml", sasl+"\"x\"", 0o600))
	if err != nil || len(problems.All()) != 0 {
		t.Errorf("a secret that others cannot read: %v, %v", problems, err)
	}
}

func TestDeepNestingIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"lists":  "x = " + strings.Repeat("[", 100_000),
		"tables": "x = " + strings.Repeat("{a=", 100_000),
		"keys":   strings.Repeat("a.", 100_000) + "a = 1",
		"header": "[" + strings.Repeat("a.", 100_000) + "a]",
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := parse(t, text, nil)
			if got := problems.Error(); !strings.Contains(got, "nest deeper than 32") || len(got) > 2*len(text)+500 {
				t.Errorf("got %.200s", got)
			}
		})
	}
}

// TestPathsStartAtTheFile: a file's relative paths mean the same from wherever
// it is read.
func TestPathsStartAtTheFile(t *testing.T) {
	dir := t.TempDir()
	pem := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(pem, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := "[cluster.tls]\nenabled = true\nca_file = \"ca.pem\"\n"
	if _, problems := Parse(filepath.Join(dir, "c.toml"), []byte(text), Options{}); !strings.Contains(problems.Error(), "holds no certificate") {
		t.Errorf("the file beside the configuration is not found: %v", problems)
	}
	text = "[cluster.embedded]\ndata_dir = \"data\"\n[plugins]\ncache_dir = \"/cache\"\n[admin]\nlisten = \"unix:run/klamm.sock\"\n"
	c, problems := Parse(filepath.Join(dir, "c.toml"), []byte(text), Options{})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ key, got, want string }{
		{"data_dir", c.Cluster.Embedded.DataDir, filepath.Join(dir, "data")},
		{"cache_dir, absolute", c.Plugins.CacheDir, "/cache"},
		{"listen", c.Admin.Listen, "unix:" + filepath.Join(dir, "run/klamm.sock")},
		{"ca_file, not given", c.Cluster.TLS.CAFile, ""},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.key, tt.got, tt.want)
		}
	}
}
