package kafkaerrors

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
)

var rewrite = flag.Bool("rewrite", false, "write docs/errors.md anew")

// TestEveryCodeIsExplained goes over all codes that package klamm has names for.
func TestEveryCodeIsExplained(t *testing.T) {
	known := 0
	for c := klamm.Code(-10); c < 1000; c++ {
		e, ok := Of(c)
		if named := !strings.HasPrefix(c.Name(), "CODE_"); named != ok {
			t.Errorf("%d %s: explained is %v", c, c.Name(), ok)
		}
		if !ok {
			continue
		}
		known++
		if e.Code != c || e.Name != c.Name() {
			t.Errorf("%d %s: entry is of %d %s", c, c.Name(), e.Code, e.Name)
		}
		if retriable := e.Class == Retriable || e.Class == Refresh; retriable != c.Retriable() {
			t.Errorf("%s: class is %q, and Retriable() is %v", e.Name, e.Class, c.Retriable())
		}
		checkEntry(t, e)
	}
	if len(Codes()) != known {
		t.Errorf("%d entries for %d codes", len(Codes()), known)
	}
}

func checkEntry(t *testing.T, e Entry) {
	t.Helper()
	found := false
	for _, a := range about {
		found = found || a.class == e.Class
	}
	if !found {
		t.Errorf("%s: unknown class %q", e.Name, e.Class)
	}
	for what, s := range map[string]string{"cause": e.Cause, "do": e.Do, "klamm": e.Klamm} {
		if s == "" || strings.HasSuffix(s, ".") || strings.ContainsAny(s, "\n|") || len(s) > 200 {
			t.Errorf("%s: %s is not a line without a full stop: %q", e.Name, what, s)
		}
	}
}

// TestEveryErrorOfOursIsExplained reads errors.go.
func TestEveryErrorOfOursIsExplained(t *testing.T) {
	explained := map[string]bool{}
	for _, e := range Own() {
		explained[e.Name] = true
		checkEntry(t, e)
		if got, ok := OfError(fmt.Errorf("wrapped: %w", e.Err)); !ok || got.Name != e.Name {
			t.Errorf("OfError(%s) = %s", e.Name, got.Name)
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../../errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range valueSpecs(file, token.VAR) {
		if name := spec.Names[0].Name; !explained[name] {
			t.Errorf("%s is not explained", name)
		}
	}
}

func valueSpecs(file *ast.File, tok token.Token) (specs []*ast.ValueSpec) {
	for _, d := range file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == tok {
			for _, s := range g.Specs {
				specs = append(specs, s.(*ast.ValueSpec))
			}
		}
	}
	return specs
}

func TestExitCodesAreThoseOfTheCommand(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../cmd/klamm/exit.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []int
	for _, spec := range valueSpecs(file, token.CONST) {
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.INT && strings.HasPrefix(spec.Names[0].Name, "exit") {
			n, err := strconv.Atoi(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, n)
		}
	}
	var got []int
	for _, c := range ExitCodes() {
		got = append(got, c.Code)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-cmd/klamm +here):\n%s", diff)
	}
}

func TestAckCodesAreThoseOfTheABI(t *testing.T) {
	want := []int32{abi.ErrUnknownOutcome, abi.ErrTimedOut, abi.ErrBuffer, abi.ErrClosed, abi.ErrPlugin, abi.ErrAborted, abi.ErrOther}
	var got []int32
	for _, c := range AckCodes() {
		got = append(got, c.Code)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-abi +here):\n%s", diff)
	}
}

func TestOfError(t *testing.T) {
	refused := &klamm.BrokerError{Code: klamm.CodeUnknownTopicOrPartition}
	cases := []struct {
		name string
		err  error
		want string
	}{
		{"a broker's code", fmt.Errorf("topic %q: %w", "t", &klamm.BrokerError{Code: 45}), "OUT_OF_ORDER_SEQUENCE_NUMBER"},
		{"the broker's code before ours", refused, "UNKNOWN_TOPIC_OR_PARTITION"},
		{"ours around a code that is newer", fmt.Errorf("%w: %w", klamm.ErrOutcomeUnknown, &klamm.BrokerError{Code: 999}), "ErrOutcomeUnknown"},
		{"buffer full is a timeout too", klamm.ErrBufferFull, "ErrBufferFull"},
		{"timeout", klamm.ErrTimeout, "ErrTimeout"},
		{"in a plugin's error", &klamm.PluginError{Plugin: "p", Hook: "on_send", Err: klamm.ErrBreakerOpen}, "ErrBreakerOpen"},
		{"anything else", errors.New("x"), ""},
		{"nothing", nil, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got, ok := OfError(c.err); got.Name != c.want || ok != (c.want != "") {
				t.Errorf("got %q, %v, want %q", got.Name, ok, c.want)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	cases := []struct{ word, want, near string }{
		{"45", "OUT_OF_ORDER_SEQUENCE_NUMBER", ""},
		{"-1", "UNKNOWN_SERVER_ERROR", ""},
		{" 0 ", "NONE", ""},
		{"NOT_LEADER_FOR_PARTITION", "NOT_LEADER_FOR_PARTITION", ""},
		{"not-leader-for-partition", "NOT_LEADER_FOR_PARTITION", ""},
		{"NotLeaderOrFollowerException", "NOT_LEADER_FOR_PARTITION", ""},
		{"NOT_LEADER_OR_FOLLOWER", "NOT_LEADER_FOR_PARTITION", ""},
		{"ErrNotLeaderForPartition", "NOT_LEADER_FOR_PARTITION", ""},
		{"RecordTooLargeException", "MESSAGE_TOO_LARGE", ""},
		{"OutOfOrderSequenceException", "OUT_OF_ORDER_SEQUENCE_NUMBER", ""},
		{"ErrFenced", "ErrFenced", ""},
		{"buffer full", "ErrBufferFull", ""},
		{"INVALID_TOPIC", "INVALID_TOPIC_EXCEPTION", ""},
		{"ErrInvalidTopic", "ErrInvalidTopic", ""},
		{"TimeoutException", "REQUEST_TIMED_OUT", ""},
		{"timeout", "ErrTimeout", ""},
		{"ErrorX", "", ""},
		{"NOT_LEADER_FOR_PARTITON", "", "NOT_LEADER_FOR_PARTITION"},
		{"produer_fenced", "", "PRODUCER_FENCED"},
		{"OUT_OF_ODRER_SEQUENCE_NUMBER", "", "OUT_OF_ORDER_SEQUENCE_NUMBER"},
		{"999", "", ""},
		{"99999999999", "", ""},
		{"", "", ""},
		{"something else entirely", "", ""},
	}
	for _, c := range cases {
		t.Run(c.word, func(t *testing.T) {
			e, near, ok := Lookup(c.word)
			if e.Name != c.want || near != c.near || ok != (c.want != "") {
				t.Errorf("got %q, near %q, %v; want %q, near %q", e.Name, near, ok, c.want, c.near)
			}
		})
	}
}

// TestEveryNameFindsItself holds for codes, our own errors and aliases.
func TestEveryNameFindsItself(t *testing.T) {
	for _, e := range append(Codes(), Own()...) {
		if got, _, ok := Lookup(e.Name); !ok || got.Name != e.Name {
			t.Errorf("Lookup(%q) = %q", e.Name, got.Name)
		}
	}
	plain := map[string]string{}
	for alias, code := range aliases {
		if got, _, ok := Lookup(alias); !ok || got.Code != code {
			t.Errorf("Lookup(%q) = %q, want %v", alias, got.Name, code.Name())
		}
		if plainName(alias) == plainName(code.Name()) || plain[plainName(alias)] != "" {
			t.Errorf("alias %q says nothing new", alias)
		}
		plain[plainName(alias)] = alias
	}
}

func TestContaining(t *testing.T) {
	var names []string
	for _, e := range Containing("fenced") {
		names = append(names, e.Name)
	}
	for _, want := range []string{"PRODUCER_FENCED", "FENCED_LEADER_EPOCH", "ErrFenced"} {
		if !strings.Contains(strings.Join(names, " "), want) {
			t.Errorf("%s is not among %v", want, names)
		}
	}
	if got := Containing("er"); got != nil {
		t.Errorf("two letters find %d entries", len(got))
	}
}

// TestErrorsDoc holds docs/errors.md against the tables. Run with -rewrite to
// write it anew.
func TestErrorsDoc(t *testing.T) {
	const path = "../../docs/errors.md"
	want := Markdown()
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/errors.md differs; run go test ./internal/kafkaerrors -run Doc -rewrite:\n%s", diff)
	}
}
