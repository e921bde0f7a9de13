package hosttest_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/hosttest"
)

// tagHost runs the tag plugin from a file; extra goes into [plugins].
func tagHost(t *testing.T, wasm []byte, extra string, sig []byte) *hosttest.Host {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tag.wasm")
	if err := os.WriteFile(file, wasm, 0o600); err != nil {
		t.Fatal(err)
	}
	if sig != nil {
		if err := os.WriteFile(file+".sig", sig, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return hosttest.New(t, fmt.Sprintf(`
[plugins]
timeout = "5s"
%s
[plugin.tag]
module = %q
[chain.orders]
topics = ["orders"]
on_send = ["tag"]
`, extra, file))
}

// judgedBy sends a record and returns the version of the plugin that judged it.
func judgedBy(t *testing.T, h *hosttest.Host) string {
	t.Helper()
	at := h.Produce("orders", "k", "v")
	for _, rec := range h.Consumed("orders") {
		if rec.Partition == at.Partition && rec.Offset == at.Offset {
			return string(rec.Headers[0].Value)
		}
	}
	t.Fatalf("the record at %d@%d is not there", at.Partition, at.Offset)
	return ""
}

// TestReloadForgetsARefusalOnceTheFileIsWell: the running module, put back in
// place of a bad one, is not reported as refused any longer.
func TestReloadForgetsARefusalOnceTheFileIsWell(t *testing.T) {
	wasm := guest(t, "tag1")
	h := tagHost(t, wasm, "", nil)
	file := h.Stats().Plugins["tag"].Module
	for _, step := range []struct {
		name    string
		content []byte
		refused bool
	}{{"bad", []byte("junk"), true}, {"well again", wasm, false}} {
		if err := os.WriteFile(file, step.content, 0o600); err != nil {
			t.Fatal(err)
		}
		r := h.Reload(ctxOf(t))[0]
		if last := h.Stats().Plugins["tag"].LastError; (r.Err != nil) != step.refused || (last != "") != step.refused {
			t.Fatalf("%s: error %v, last error %q, want refused = %t", step.name, r.Err, last, step.refused)
		}
	}
	if v := judgedBy(t, h); v != "1" {
		t.Fatalf("judged by version %q, want 1", v)
	}
}

func TestDeployAndRollback(t *testing.T) {
	one, two := guest(t, "tag1"), guest(t, "tag2")
	h := tagHost(t, one, "", nil)
	if v := judgedBy(t, h); v != "1" {
		t.Fatalf("judged by version %q, want 1", v)
	}
	if _, err := h.Deploy(ctxOf(t), "tag", two, nil); err != nil {
		t.Fatal(err)
	}
	if v := judgedBy(t, h); v != "2" {
		t.Fatalf("after the deployment judged by version %q, want 2", v)
	}
	var perr *klamm.PluginError
	if _, err := h.Deploy(ctxOf(t), "tag", []byte("junk"), nil); !errors.As(err, &perr) {
		t.Fatalf("junk was deployed: %v", err)
	}
	if r := h.Reload(ctxOf(t)); r[0].Changed || r[0].Err != nil {
		t.Fatalf("the file has not changed, but the reload did: %+v", r[0])
	}
	if v := judgedBy(t, h); v != "2" {
		t.Fatalf("after a refused deployment judged by version %q, want 2", v)
	}
	if _, err := h.Rollback(ctxOf(t), "tag"); err != nil {
		t.Fatal(err)
	}
	if v := judgedBy(t, h); v != "1" {
		t.Fatalf("after the rollback judged by version %q, want 1", v)
	}
	history, err := h.History("tag")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range history {
		got = append(got, fmt.Sprintf("%s %d %t %t", d.From, d.Generation, d.Active, d.Refused != ""))
	}
	want := "[start 1 false false deploy 2 false false deploy 0 false true rollback 3 true false]"
	if fmt.Sprint(got) != want {
		t.Fatalf("history %v, want %s", got, want)
	}
	if _, err := h.Deploy(ctxOf(t), "gat", two, nil); !errors.Is(err, host.ErrUnknownPlugin) {
		t.Fatalf("error %v, want ErrUnknownPlugin", err)
	}
}

func TestRollbackWithoutHistory(t *testing.T) {
	h := tagHost(t, guest(t, "tag1"), "", nil)
	if _, err := h.Rollback(ctxOf(t), "tag"); !errors.Is(err, host.ErrNoRollback) {
		t.Fatalf("error %v, want ErrNoRollback", err)
	}
}

func TestSignatures(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	one, two := guest(t, "tag1"), guest(t, "tag2")
	trust := fmt.Sprintf("trusted_keys = [%q]\nrequire_signature = true", base64.StdEncoding.EncodeToString(public))
	h := tagHost(t, one, trust, ed25519.Sign(private, one))
	for _, tc := range []struct {
		name string
		sig  []byte
		ok   bool
	}{
		{"none", nil, false},
		{"of a stranger", ed25519.Sign(stranger, two), false},
		{"of another module", ed25519.Sign(private, one), false},
		{"right", ed25519.Sign(private, two), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := h.Deploy(ctxOf(t), "tag", two, tc.sig)
			if tc.ok != (err == nil) {
				t.Fatalf("error %v, want accepted = %t", err, tc.ok)
			}
			if !tc.ok && !errors.Is(err, host.ErrUnsigned) {
				t.Fatalf("error %v, want ErrUnsigned", err)
			}
		})
	}
	if v := judgedBy(t, h); v != "2" {
		t.Fatalf("judged by version %q, want 2", v)
	}
}
