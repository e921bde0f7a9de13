package plugintest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
)

// File is a file of cases, as in:
//
//	[[case]]
//	name = "the second of a key is dropped"
//	hook = "on_send"                  # the default
//	config = { window = "10m" }       # the plugin's table
//	secrets = { pepper = "s3cret" }
//	now = 2026-01-01T00:00:00Z        # the default
//	in_flight = false                 # true: ids claimed before are on their way
//	topics.test = { partitions = 4, load = [0, 0, 9000, 0], available = [true, true, true, false] }
//	metrics = { dedup_dropped_total = 1 }
//	state = { "a key" = "what was put" }
//	log = ["part of a line"]
//	init_error = ""                   # part of the error that loading ends with
//	error = ""                        # part of the error that the calls end with
//
//	[[case.record]]
//	topic = "test"                    # the default
//	key = "a"                         # without it the key is null; so are values
//	value = '{"n":1}'                 # key_base64 and value_base64 take bytes
//	headers = [{ key = "h", value = "x" }, { key = "null" }]
//	timestamp = 2026-01-01T00:00:00Z  # default: now
//	partition = 3                     # demanded in on_send, where it was read else
//	offset = 42
//	ack = { error = 7, flags = 2, latency = "3ms" }
//	want = { verdict = "drop", reason = "duplicate", text = "part of it" }
//
// A record without want must pass unchanged. Verdicts are pass, drop, route (with
// partition), edit, dead_letter and fail. Of an edit, want says the whole record
// after it: what it does not name stays as it came in, and null = ["key"] and
// headers = [] take away.
type File struct {
	Cases []Case
}

// Report is what came of a file of cases.
type Report struct {
	File  string
	Cases []CaseReport
}

// CaseReport is what came of one case. It has passed when there are no problems.
type CaseReport struct {
	Name     string
	Problems []string
	Duration time.Duration
}

// Failed returns how many cases have problems.
func (r *Report) Failed() (n int) {
	for _, c := range r.Cases {
		if len(c.Problems) > 0 {
			n++
		}
	}
	return n
}

// RunFiles runs the files of cases with the module ref: a folder of Go source, a
// .wasm file, or builtin:NAME. An error means that cases could not be run; what
// the plugin does wrong is in the reports.
func RunFiles(ctx context.Context, ref string, files []string, opts ...Option) ([]Report, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	k, err := open(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	defer k.close()
	var reports []Report
	for _, name := range files {
		f, err := ReadFile(name)
		if err != nil {
			return reports, err
		}
		r := Report{File: name}
		for i := range f.Cases {
			if err := ctx.Err(); err != nil {
				return reports, err
			}
			start := time.Now()
			problems := k.problems(ctx, &f.Cases[i])
			r.Cases = append(r.Cases, CaseReport{f.Cases[i].Name, problems, time.Since(start)})
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// RunFile is RunFiles for one file.
func RunFile(ctx context.Context, ref, file string, opts ...Option) (*Report, error) {
	reports, err := RunFiles(ctx, ref, []string{file}, opts...)
	if err != nil {
		return nil, err
	}
	return &reports[0], nil
}

// Files returns the case files of a plugin's folder, testdata/*.toml.
func Files(dir string) ([]string, error) {
	return filepath.Glob(filepath.Join(dir, "testdata", "*.toml"))
}

// ReadFile reads a file of cases.
func ReadFile(name string) (*File, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f, err := parseFile(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

type fileCase struct {
	Name      string               `toml:"name"`
	Hook      string               `toml:"hook"`
	Config    map[string]any       `toml:"config"`
	Secrets   map[string]string    `toml:"secrets"`
	Now       time.Time            `toml:"now"`
	InFlight  bool                 `toml:"in_flight"`
	Topics    map[string]fileFacts `toml:"topics"`
	Metrics   map[string]int64     `toml:"metrics"`
	State     map[string]string    `toml:"state"`
	Log       []string             `toml:"log"`
	InitError string               `toml:"init_error"`
	Error     string               `toml:"error"`
	Records   []fileRecord         `toml:"record"`
}

type fileFacts struct {
	Partitions int32    `toml:"partitions"`
	Epoch      uint32   `toml:"epoch"`
	Available  []bool   `toml:"available"`
	Load       []uint32 `toml:"load"`
}

type fileFields struct {
	Topic       string        `toml:"topic"`
	Key         *string       `toml:"key"`
	KeyBase64   *string       `toml:"key_base64"`
	Value       *string       `toml:"value"`
	ValueBase64 *string       `toml:"value_base64"`
	Headers     *[]fileHeader `toml:"headers"`
	Timestamp   time.Time     `toml:"timestamp"`
	Partition   *int32        `toml:"partition"`
}

type fileHeader struct {
	Key   string  `toml:"key"`
	Value *string `toml:"value"`
}

type fileRecord struct {
	fileFields
	Offset int64    `toml:"offset"`
	Ack    *fileAck `toml:"ack"`
	Want   fileWant `toml:"want"`
}

type fileAck struct {
	Error   int32         `toml:"error"`
	Flags   uint32        `toml:"flags"`
	Reason  uint16        `toml:"reason"`
	Latency time.Duration `toml:"latency"`
}

type fileWant struct {
	fileFields
	Verdict string   `toml:"verdict"`
	Reason  string   `toml:"reason"`
	Text    string   `toml:"text"`
	Null    []string `toml:"null"`
}

func parseFile(text string) (*File, error) {
	var raw struct {
		Case []fileCase `toml:"case"`
	}
	meta, err := toml.Decode(text, &raw)
	if err != nil {
		return nil, err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("unknown key %q", unknown[0])
	}
	f := &File{}
	for i, r := range raw.Case {
		c, err := r.read()
		if err != nil {
			return nil, fmt.Errorf("case %d, %q: %w", i+1, r.Name, err)
		}
		f.Cases = append(f.Cases, *c)
	}
	if len(f.Cases) == 0 {
		return nil, errors.New("no [[case]]")
	}
	return f, nil
}

func (r *fileCase) read() (*Case, error) {
	c := &Case{
		Name: r.Name, Config: r.Config, Now: r.Now, InFlight: r.InFlight, Secrets: map[string][]byte{},
		Facts: map[string]Facts{}, WantMetrics: r.Metrics, WantState: r.State, WantLog: r.Log,
		WantInit: r.InitError, WantError: r.Error,
	}
	var ok bool
	if c.Hook, ok = hookOf(r.Hook); !ok {
		return nil, fmt.Errorf("hook %q is none of on_send, on_acknowledgement, on_consume, on_commit, partition", r.Hook)
	}
	if c.Name == "" {
		return nil, errors.New("a case needs a name")
	}
	for name, secret := range r.Secrets {
		c.Secrets[name] = []byte(secret)
	}
	for name, f := range r.Topics {
		c.Facts[name] = Facts(f)
	}
	for i := range r.Records {
		if err := r.Records[i].read(c); err != nil {
			return nil, fmt.Errorf("record %d: %w", i+1, err)
		}
	}
	return c, nil
}

func hookOf(name string) (abi.Hook, bool) {
	if name == "" {
		return abi.OnSend, true
	}
	for h := abi.OnSend; h < abi.HookCount; h++ {
		if h.String() == name {
			return h, true
		}
	}
	return 0, false
}

func (r *fileRecord) read(c *Case) error {
	rec := klamm.Record{Offset: r.Offset}
	if err := r.fileFields.apply(&rec, c.Hook); err != nil {
		return err
	}
	want, err := r.Want.read(rec, c.Hook)
	if err != nil {
		return err
	}
	var a Ack
	if r.Ack != nil {
		a = Ack{Error: r.Ack.Error, Flags: r.Ack.Flags, Reason: r.Ack.Reason, Latency: r.Ack.Latency}
	}
	c.Records, c.Acks = append(c.Records, rec), append(c.Acks, a)
	if c.judges() {
		c.Want = append(c.Want, want)
	}
	return nil
}

// apply changes what the fields name.
func (f *fileFields) apply(r *klamm.Record, h abi.Hook) error {
	if f.Topic != "" {
		r.Topic = f.Topic
	}
	var err error
	if r.Key, err = bytesOf("key", r.Key, f.Key, f.KeyBase64); err != nil {
		return err
	}
	if r.Value, err = bytesOf("value", r.Value, f.Value, f.ValueBase64); err != nil {
		return err
	}
	if f.Headers != nil {
		r.Headers = nil
		for _, h := range *f.Headers {
			v, _ := bytesOf("", nil, h.Value, nil)
			r.Headers = append(r.Headers, klamm.Header{Key: h.Key, Value: v})
		}
	}
	if !f.Timestamp.IsZero() {
		r.Timestamp = f.Timestamp
	}
	if f.Partition != nil {
		if h == abi.OnSend || h == abi.Partition {
			r.Target = klamm.ToPartition(*f.Partition)
		} else {
			r.Partition = *f.Partition
		}
	}
	return nil
}

func bytesOf(name string, old []byte, text, base *string) ([]byte, error) {
	switch {
	case text != nil && base != nil:
		return nil, fmt.Errorf("%s and %s_base64 are given", name, name)
	case text != nil:
		return []byte(*text), nil
	case base != nil:
		b, err := base64.StdEncoding.DecodeString(*base)
		if err != nil {
			return nil, fmt.Errorf("%s_base64: %w", name, err)
		}
		return b, nil
	}
	return old, nil
}

var verdictNames = []abi.Code{abi.Pass, abi.Drop, abi.Route, abi.Edit, abi.DeadLetter, abi.Fail}

func (w *fileWant) read(in klamm.Record, h abi.Hook) (Want, error) {
	out := Want{Reason: w.Reason, Text: w.Text}
	if w.Verdict != "" {
		var known []string
		for _, c := range verdictNames {
			if c.String() == w.Verdict {
				out.Verdict = c
			}
			known = append(known, c.String())
		}
		if out.Verdict.String() != w.Verdict {
			return out, fmt.Errorf("verdict %q is none of %s", w.Verdict, strings.Join(known, ", "))
		}
	}
	if out.Verdict == abi.Route {
		if w.Partition == nil {
			return out, errors.New("a wanted route needs a partition")
		}
		out.Partition = *w.Partition
		return out, nil
	}
	if out.Verdict != abi.Edit {
		return out, nil
	}
	for _, name := range w.Null {
		switch name {
		case "key":
			in.Key = nil
		case "value":
			in.Value = nil
		default:
			return out, fmt.Errorf("null %q is none of key, value", name)
		}
	}
	out.Record = &in
	return out, w.apply(&in, h)
}
