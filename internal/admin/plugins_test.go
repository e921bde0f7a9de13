package admin

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm/host"
)

// fakePlugins has one plugin, p, and takes any module but "bad".
type fakePlugins struct{ got, sig string }

func (f *fakePlugins) Deploy(_ context.Context, name string, wasm, signature []byte) (host.Deployment, error) {
	if name != "p" {
		return host.Deployment{}, host.ErrUnknownPlugin
	}
	if string(wasm) == "bad" {
		return host.Deployment{}, errors.New("it is bad")
	}
	f.got, f.sig = string(wasm), string(signature)
	return host.Deployment{Generation: 2, Digest: "d2", Active: true}, nil
}

func (f *fakePlugins) Rollback(context.Context, string) (host.Deployment, error) {
	return host.Deployment{}, host.ErrNoRollback
}

func (f *fakePlugins) History(string) ([]host.Deployment, error) {
	return []host.Deployment{{Generation: 1, From: "start", At: time.Unix(1, 0).UTC()}}, nil
}

func (f *fakePlugins) Stats() host.Stats {
	return host.Stats{Plugins: map[string]host.PluginStats{"p": {Generation: 1, Digest: "d1"}}}
}

func serve(t *testing.T, listenOn, token string, p Plugins) *Client {
	t.Helper()
	s := listen(t, Config{Listen: listenOn, Token: token, Plugins: func() Plugins { return p }})
	if _, unix := IsUnix(listenOn); unix {
		return NewClient(listenOn, "")
	}
	return NewClient(s.Addr(), token)
}

func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "klamm") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "admin.sock")
}

func TestSocketNeedsNoTokenAndHasMode0600(t *testing.T) {
	path := socketPath(t)
	p := &fakePlugins{}
	c := serve(t, "unix:"+path, "secret", p)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, want 0600", info.Mode().Perm())
	}
	d, err := c.Deploy(context.Background(), "p", []byte("module"), []byte("sig"))
	if err != nil || d.Generation != 2 || p.got != "module" || p.sig != "sig" {
		t.Fatalf("%+v, error %v; the host got %q with signature %q", d, err, p.got, p.sig)
	}
	s, err := c.Status(context.Background())
	if err != nil || len(s.Plugins) != 1 || s.Plugins[0].Name != "p" || s.Plugins[0].Generation != 1 {
		t.Fatalf("%+v, error %v", s, err)
	}
	h, err := c.History(context.Background(), "p")
	if err != nil || len(h.Deployments) != 1 || h.Deployments[0].From != "start" {
		t.Fatalf("%+v, error %v", h, err)
	}
}

func TestStaleSocketIsReplacedAndLivingOneIsNot(t *testing.T) {
	path := socketPath(t)
	serve(t, "unix:"+path, "", &fakePlugins{})
	if _, err := open("unix:" + path); err == nil || !strings.Contains(err.Error(), "another klamm") {
		t.Fatalf("error %v, want that another one listens there", err)
	}
	file := filepath.Join(filepath.Dir(path), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open("unix:" + file); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Fatalf("error %v, want that the file is no socket", err)
	}
}

func TestLoopbackChangesNothingWithoutToken(t *testing.T) {
	c := serve(t, "127.0.0.1:0", "", &fakePlugins{})
	_, err := c.Deploy(context.Background(), "p", []byte("module"), nil)
	var refused *Refusal
	if !errors.As(err, &refused) || refused.Status != http.StatusForbidden || !strings.Contains(refused.Text, "unix:") {
		t.Fatalf("error %v, want 403 and how to allow it", err)
	}
	if _, err := c.Status(context.Background()); err != nil {
		t.Fatalf("status: %v", err)
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	c := serve(t, "127.0.0.1:0", "secret", &fakePlugins{})
	wasm := http.Header{"Content-Type": {"application/wasm"}}
	for _, tc := range []struct {
		name   string
		path   string
		token  string
		header http.Header
		body   []byte
		status int
	}{
		{"wrong token", "p/deploy", "guess", wasm, []byte("m"), http.StatusUnauthorized},
		{"from a web page", "p/deploy", "secret", http.Header{"Content-Type": {"application/wasm"}, "Origin": {"http://evil.example"}}, []byte("m"), http.StatusForbidden},
		{"no module", "p/deploy", "secret", http.Header{"Content-Type": {"text/plain"}}, []byte("m"), http.StatusUnsupportedMediaType},
		{"too large", "p/deploy", "secret", wasm, make([]byte, moduleMax+1), http.StatusRequestEntityTooLarge},
		{"signature is no base64", "p/deploy", "secret", http.Header{"Content-Type": {"application/wasm"}, HeaderSignature: {"%"}}, []byte("m"), http.StatusBadRequest},
		{"unknown plugin", "q/deploy", "secret", wasm, []byte("m"), http.StatusNotFound},
		{"refused module", "p/deploy", "secret", wasm, []byte("bad"), http.StatusUnprocessableEntity},
		{"nothing to roll back to", "p/rollback", "secret", nil, nil, http.StatusConflict},
	} {
		t.Run(tc.name, func(t *testing.T) {
			as := &Client{base: c.base, token: tc.token, http: c.http}
			var out DeployAnswer
			err := as.do(context.Background(), http.MethodPost, "/v1/plugins/"+tc.path, tc.header, tc.body, &out)
			var refused *Refusal
			if !errors.As(err, &refused) || refused.Status != tc.status {
				t.Fatalf("error %#v, want status %d", err, tc.status)
			}
		})
	}
}

func TestStartingHostSaysSo(t *testing.T) {
	s := listen(t, Config{Listen: "127.0.0.1:0", Plugins: func() Plugins { return nil }})
	var refused *Refusal
	_, err := NewClient(s.Addr(), "").Status(context.Background())
	if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
		t.Fatalf("error %v, want 503", err)
	}
}
