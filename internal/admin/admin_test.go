package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	if cfg.Ready == nil {
		cfg.Ready = func() error { return nil }
	}
	cfg.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "klamm_up 1\n") })
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil { // t's own context has ended
			t.Error(err)
		}
	})
	return s
}

type request struct{ path, host, token, method string }

func get(t *testing.T, s *Server, q request) (int, string) {
	t.Helper()
	if q.method == "" {
		q.method = "GET"
	}
	r, err := http.NewRequest(q.method, "http://"+s.Addr()+q.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if q.host != "" {
		r.Host = q.host
	}
	if q.token != "" {
		r.Header.Set("Authorization", "Bearer "+q.token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(body)
}

func TestEndpoints(t *testing.T) {
	bad := errors.Join(errors.New("plugin \"a\" has no active generation"), errors.Join(errors.New("no broker")))
	tests := []struct {
		name   string
		cfg    Config
		q      request
		status int
		body   string
	}{
		{"alive", Config{}, request{path: "/livez"}, 200, `{"schema":"klamm.health/1","ok":true,"reasons":[]}`},
		{"alive even if not ready", Config{Ready: func() error { return bad }}, request{path: "/livez"}, 200, `"ok":true`},
		{"ready", Config{}, request{path: "/readyz"}, 200, `"ok":true`},
		{"not ready, and why", Config{Ready: func() error { return bad }}, request{path: "/readyz"}, 503,
			`"ok":false,"reasons":["plugin \"a\" has no active generation","no broker"]`},
		{"metrics", Config{}, request{path: "/metrics"}, 200, "klamm_up 1"},
		{"metrics, no token", Config{Token: "s3"}, request{path: "/metrics"}, 401, "token"},
		{"metrics, wrong token", Config{Token: "s3"}, request{path: "/metrics", token: "s4"}, 401, "token"},
		{"metrics, token", Config{Token: "s3"}, request{path: "/metrics", token: "s3"}, 200, "klamm_up 1"},
		{"probes need no token", Config{Token: "s3"}, request{path: "/readyz"}, 200, `"ok":true`},
		{"localhost is local", Config{}, request{path: "/livez", host: "localhost:8686"}, 200, `"ok":true`},
		{"IPv6 is local", Config{}, request{path: "/livez", host: "[::1]:8686"}, 200, `"ok":true`},
		{"DNS rebinding", Config{}, request{path: "/metrics", host: "evil.example:8686"}, 403, "localhost only"},
		{"no write", Config{}, request{path: "/livez", method: "POST"}, 405, ""},
		{"elsewhere", Config{}, request{path: "/admin"}, 404, ""},
		{"what there is", Config{}, request{path: "/"}, 200, "/metrics /livez /readyz"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Listen = "127.0.0.1:0"
			status, body := get(t, listen(t, tt.cfg), tt.q)
			if status != tt.status || !strings.Contains(body, tt.body) {
				t.Errorf("got %d %q, want %d with %q", status, body, tt.status, tt.body)
			}
		})
	}
}

func TestListenRefuses(t *testing.T) {
	if s, err := Listen(Config{Listen: "0.0.0.0:0", Logger: slog.New(slog.DiscardHandler)}); err == nil {
		s.Close(t.Context())
		t.Error("listens on every address without a token")
	}
	taken := listen(t, Config{Listen: "127.0.0.1:0"})
	_, err := Listen(Config{Listen: taken.Addr()})
	if err == nil || !strings.Contains(err.Error(), taken.Addr()) {
		t.Errorf("port taken: %v", err)
	}
}

func TestCloseTwice(t *testing.T) {
	s := listen(t, Config{Listen: "127.0.0.1:0"})
	for range 2 {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
