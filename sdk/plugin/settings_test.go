package plugin

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// fresh gives the test a registry of its own.
func fresh(t *testing.T) {
	t.Helper()
	saved := reg
	reg = registry{}
	t.Cleanup(func() { reg = saved })
}

func TestSettings(t *testing.T) {
	fresh(t)
	window := Duration("window", 10*Minute)
	spread := Int("spread", 4)
	ratio := Float("ratio", 0.5)
	strict := Bool("strict", true)
	by := String("by", "key")
	fields := Strings("fields", "a", "b")
	limit := Size("limit", 64*KiB)
	if problems := bind(nil); len(problems) > 0 {
		t.Fatal(problems)
	}
	if window.Get() != 10*time.Minute || spread.Get() != 4 || ratio.Get() != 0.5 || !strict.Get() || by.Get() != "key" ||
		!slices.Equal(fields.Get(), []string{"a", "b"}) || limit.Get() != 65536 || window.IsSet() {
		t.Error("a default is not what was declared")
	}
	problems := bind([]byte(` { "window": "1h30m", "spread": -9007199254740993, "ratio": 1e-3, "strict": false,
		"by": "a\u0062", "fields": [ "x" , "\n" ], "limit": "2 MiB" } `))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if window.Get() != 90*time.Minute || spread.Get() != -9007199254740993 || ratio.Get() != 0.001 || strict.Get() ||
		by.Get() != "ab" || !slices.Equal(fields.Get(), []string{"x", "\n"}) || limit.Get() != 2<<20 || !window.IsSet() {
		t.Errorf("got %v %v %v %v %q %q %v", window.Get(), spread.Get(), ratio.Get(), strict.Get(), by.Get(), fields.Get(), limit.Get())
	}
	if problems := bind([]byte(`{"window":1500,"fields":"one","limit":10}`)); len(problems) > 0 {
		t.Fatal(problems)
	}
	if window.Get() != 1500*time.Millisecond || !slices.Equal(fields.Get(), []string{"one"}) || limit.Get() != 10 || spread.Get() != 4 {
		t.Error("short forms, or a value that stays from the table before")
	}
}

func TestSettingErrors(t *testing.T) {
	tests := []struct{ name, table, want string }{
		{"a slip", `{"windw":1}`, `unknown config key "windw"; did you mean "window"?`},
		{"swapped letters", `{"spraed":1}`, `did you mean "spread"?`},
		{"nothing like it", `{"colour":1}`, `unknown config key "colour"; known are by, fields, limit, ratio, spread, strict, window`},
		{"duration", `{"window":"10x"}`, `config key "window": "10x" is not a duration, as "500ms", "10m" or "24h"`},
		{"long duration", `{"window":9223372036854775807}`, `is not a duration of less than 292 years`},
		{"float for a whole number", `{"spread":1.5}`, `config key "spread": 1.5 is not a whole number`},
		{"string for a number", `{"ratio":"1"}`, `config key "ratio": "1" is not a number`},
		{"number for a string", `{"by":1}`, `config key "by": 1 is not a string`},
		{"number in a list", `{"fields":["a",1]}`, `config key "fields": ["a",1] is not a list of strings`},
		{"table for a list", `{"fields":{"a":[1,"}"]}}`, `is not a list of strings`},
		{"string for a bool", `{"strict":"yes"}`, `config key "strict": "yes" is not true or false`},
		{"decimal size", `{"limit":"16KB"}`, `config key "limit": "16KB" is not a size`},
		{"negative size", `{"limit":-1}`, `config key "limit": -1 is not a size`},
		{"size too large", `{"limit":"9999999999GiB"}`, `is not a size`},
		{"no table", `[]`, `configuration table: not JSON at byte 0: "{" expected`},
		{"broken table", `{"by":"x"`, `configuration table: not JSON at byte 9`},
		{"rule", `{"by":"none"}`, `config key "by": "none" is none of key, header`},
		{"required", `{}`, `config key "by": is required`},
	}
	fresh(t)
	Duration("window", Minute)
	Int("spread", 4)
	Float("ratio", 0.5)
	Bool("strict", true)
	String("by", "key").Required().Check(OneOf("key", "header"))
	Strings("fields")
	Size("limit", 0)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := errors.Join(bind([]byte(tt.table))...); got == nil || !strings.Contains(got.Error(), tt.want) {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
	if got := bind([]byte(`{"windw":1,"spread":"x","by":"y"}`)); len(got) != 3 {
		t.Errorf("got %v, want all three problems", got)
	}
}

func TestNoSettings(t *testing.T) {
	fresh(t)
	if got := errors.Join(bind([]byte(`{"a":1}`))...); got == nil || got.Error() != `unknown config key "a"; this plugin has none` {
		t.Errorf("got %v", got)
	}
}

func TestReasons(t *testing.T) {
	fresh(t)
	first := Reason("late")
	if again := Reason("late"); again != first || first != 16 {
		t.Errorf("got %d and %d, want 16 twice", first, again)
	}
	for i := range 100 {
		Reason(strings.Repeat("x", i+1))
	}
	if got := Reason("one too many"); got != Other {
		t.Errorf("got %d, want Other", got)
	}
}

// FuzzBind reads tables that the host would never send.
func FuzzBind(f *testing.F) {
	f.Add([]byte(`{"window":"1h","fields":["a"],"x":{"y":[1]}}`))
	f.Add([]byte(`{"limit":"1MiB","by":"\u00"`))
	f.Add([]byte(`{"ratio":-0e+9,"spread":99999999999999999999}`))
	f.Fuzz(func(t *testing.T, table []byte) {
		fresh(t)
		Duration("window", Minute)
		Float("ratio", 0)
		Int("spread", 0)
		Strings("fields")
		Size("limit", 0)
		String("by", "")
		bind(table)
	})
}

// FuzzInit reads init blocks that the host would never send.
func FuzzInit(f *testing.F) {
	f.Add(make([]byte, 56))
	f.Add(append(make([]byte, 52), 1, 0, 0, 0, 255, 255, 255, 255))
	f.Fuzz(func(t *testing.T, block []byte) {
		in, _, err := readInit(block)
		if err == nil && in == nil {
			t.Error("neither an error nor what the block says")
		}
	})
}
