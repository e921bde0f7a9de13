package plugintest

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
)

// Load reads a file of cases for Run.
func Load(t *testing.T, file string) []Case {
	t.Helper()
	f, err := ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return f.Cases
}

// Readme checks the example in a plugin's README: the first block of toml that
// holds a [plugin.NAME.config], and the first block of diff, with a record on each
// line:
//
//	 {"key":"a","value":{"n":1}}             passes
//	-{"key":"a","value":{"n":1}}             comes in ...
//	+{"key":"a","value":{"n":null}}          ... and goes on like this
//	-{"key":"a","value":{"n":1}} # drop duplicate
//
// The records that come in are run, with facts about the topic, and the diff
// that comes of it must be the README's.
func Readme(t *testing.T, ref, file string, c Case, opts ...Option) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	config, diff := fenced(string(b), "toml", ".config]"), fenced(string(b), "diff", "")
	if config == "" || diff == "" {
		t.Fatalf("%s: no block of toml with [plugin.NAME.config], or none of diff", file)
	}
	if c.Config, err = readmeConfig(config); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if c.Records, err = readmeRecords(diff); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	o := options{cacheDir: userCache()}
	for _, opt := range opts {
		opt(&o)
	}
	k, err := open(t.Context(), ref, o)
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	out, err := k.wasm.play(t.Context(), &c, plainShape, []int{len(c.Records)})
	if err != nil {
		t.Fatal(err)
	}
	if got := Diff(c.Records, out.Results); got != diff {
		t.Errorf("%s: the plugin does\n%swant\n%s", file, got, diff)
	}
}

// fenced returns the first block of that language that contains part.
func fenced(text, language, part string) string {
	for {
		_, rest, ok := strings.Cut(text, "```"+language+"\n")
		if !ok {
			return ""
		}
		block, after, _ := strings.Cut(rest, "```")
		if strings.Contains(block, part) {
			return block
		}
		text = after
	}
}

func readmeConfig(text string) (map[string]any, error) {
	var file struct {
		Plugin map[string]struct{ Config map[string]any }
	}
	if _, err := toml.Decode(text, &file); err != nil {
		return nil, err
	}
	for _, p := range file.Plugin {
		return p.Config, nil
	}
	return nil, fmt.Errorf("no [plugin.NAME.config]")
}

// line is a record in a diff. A value that is a JSON object stands in it as such.
type line struct {
	Key       *string           `json:"key,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
	Partition *int32            `json:"partition,omitempty"`
	Value     json.RawMessage   `json:"value,omitempty"`
}

func readmeRecords(diff string) (records []klamm.Record, err error) {
	for text := range strings.Lines(diff) {
		if text[0] == '+' {
			continue
		}
		var l line
		if err := json.NewDecoder(strings.NewReader(text[1:])).Decode(&l); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		r := klamm.Record{Value: l.Value}
		if s := ""; json.Unmarshal(l.Value, &s) == nil {
			r.Value = []byte(s)
		}
		if l.Key != nil {
			r.Key = []byte(*l.Key)
		}
		for k, v := range l.Headers {
			r.Headers = append(r.Headers, klamm.Header{Key: k, Value: []byte(v)})
		}
		records = append(records, r)
	}
	return records, nil
}

// Diff shows what became of records, one a line. See Readme.
func Diff(records []klamm.Record, results []Result) string {
	var b strings.Builder
	for i := range records {
		in, res := lineOf(&records[i]), &results[i]
		switch res.Verdict {
		case abi.Pass:
			fmt.Fprintf(&b, " %s\n", in)
		case abi.Edit:
			fmt.Fprintf(&b, "-%s\n+%s\n", in, lineOf(&res.Record))
		case abi.Route:
			r := records[i]
			r.Target = klamm.ToPartition(res.Partition)
			fmt.Fprintf(&b, "-%s\n+%s\n", in, lineOf(&r))
		default:
			fmt.Fprintf(&b, "-%s # %s %s\n", in, res.Verdict, res.Reason)
		}
	}
	return b.String()
}

func lineOf(r *klamm.Record) string {
	var l line
	if r.Key != nil {
		key := string(r.Key)
		l.Key = &key
	}
	for _, h := range r.Headers {
		if l.Headers == nil {
			l.Headers = map[string]string{}
		}
		l.Headers[h.Key] = string(h.Value)
	}
	if p, ok := r.Target.Partition(); ok {
		l.Partition = &p
	}
	if r.Value != nil {
		if l.Value = r.Value; !json.Valid(r.Value) || r.Value[0] != '{' {
			l.Value, _ = json.Marshal(string(r.Value))
		}
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(l)
	return strings.TrimSpace(b.String())
}
