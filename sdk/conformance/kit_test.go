package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/sdk/conformance/toolchain"
)

// TestKitNotices breaks the C SDK in one way each and demands that a case fails.
func TestKitNotices(t *testing.T) {
	for _, tt := range []struct{ name, old, new string }{
		{"nothing", "", ""},
		{"keys are where this minor has them", "{r->at + klamm_u32(r->at + 32),", "{r->at + 64,"},
		{"verdicts are where this minor has them", "p + klamm_u32(p + 20)", "p + 64"},
		{"topics are where this minor has them", "b->topics_off = klamm_u32(p + 32)", "b->topics_off = 64 + 8 * b->count"},
		{"acknowledgements are behind the header", "r->at + klamm_u32(r->at) - 32", "r->at + 64"},
		{"unknown flags are not masked out", "if (klamm_flags(r) & 1)\n", "if (klamm_flags(r) == 1)\n"},
		{"null becomes empty", "klamm_put32(e + 8, value.n)", "klamm_put32(e + 8, vlen)"},
		{"a null header is empty", "h->base + klamm_u32(e + 8), (int32_t)klamm_u32(e + 12)", "h->base + klamm_u32(e + 8), (int32_t)klamm_u32(e + 12) & 0x7fffffff"},
		{"the first header instead of the last", "for (uint32_t i = h.n; i-- > 0;)", "for (uint32_t i = 0; i < h.n; i++)"},
		{"a record that did not fit counts", "klamm_settle(r->b, r->i < r->b->full)", "klamm_settle(r->b, true)"},
		{"done is not written", "klamm_put32(p + 60, b->full)", "klamm_put32(p + 60, 0)"},
		{"done is one too many", "klamm_put32(p + 60, b->full)", "klamm_put32(p + 60, b->full + 1)"},
		{"the partial flag is missing", "b->mod_used | 1ull << 48", "b->mod_used"},
		{"another record's value is pulled", "klamm_import_value(r->i,", "klamm_import_value(0,"},
		{"the pulled value of the call before is kept", "klamm_pulled_value_of = klamm_pulled_headers_of = -1u;", ""},
		{"bits of a batch of claims are mixed up", "r->i / 64] >> (r->i % 64)", "0] >> (63 - r->i % 64)"},
		{"a refused claim goes unnoticed", "r->b->refused = true;", ""},
		{"edits after the end are taken", "c != KLAMM_V_DROP && c != KLAMM_V_FAIL", "c != KLAMM_V_FAIL"},
		{"an edit list starts anew", "return arg;", "return klamm_new_list(b);"},
		{"texts are cut inside of characters", "(text.p[n] & 0xc0) == 0x80", "false"},
		{"murmur2 keeps its sign bit", "& 0x7fffffff;", ";"},
		{"the config's minor must be ours", "if (n < 56) {", "if (n < 56 || klamm_u32(p) != 0) {"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			problem := firstProblem(t, brokenGuest(t, tt.old, tt.new))
			if (problem == "") != (tt.old == "") {
				t.Errorf("the kit says %q", problem)
			}
		})
	}
}

// brokenGuest builds the C guest with an SDK in which old is replaced.
func brokenGuest(t *testing.T, old, replacement string) []byte {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"../c/klamm.h", "../c/klamm_json.h", "../c/klamm_config.h"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if filepath.Base(name) == "klamm.h" {
			if !strings.Contains(text, old) {
				t.Fatalf("%s does not hold %q", name, old)
			}
			text = strings.ReplaceAll(text, old, replacement)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	guest, err := filepath.Abs("guests/c")
	if err != nil {
		t.Fatal(err)
	}
	return toolchain.BuildWith(t, module.C, guest, dir)
}

// firstProblem runs cases until one fails, not in the larger batches.
func firstProblem(t *testing.T, wasm []byte) string {
	t.Helper()
	l, err := openGuest(t.Context(), wasm)
	if err != nil {
		return err.Error()
	}
	defer l.close()
	cases := Cases()
	for i := range cases {
		ways := waysOf(&cases[i])
		if p := cases[i].problems(t.Context(), l, ways[:min(3, len(ways))]); len(p) > 0 {
			return cases[i].Name + ": " + p[0]
		}
	}
	return ""
}
