// Package admin is the HTTP listener of `klamm run`: /metrics for Prometheus,
// /livez and /readyz for whoever restarts processes, /v1/plugins for deploying
// new modules to the running host, /v1/pipelines for pausing and resuming its
// pipelines, /v1/states for what it remembers for plugins.
//
// A listener on a loopback address answers only requests whose Host is a
// loopback name too, so that no web page can reach it by DNS rebinding. On any
// other address it needs a token.
package admin

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Config says where to listen and what to serve.
type Config struct {
	Listen string // host:port, or unix:PATH
	Token  string // for all but probes; "" only on a loopback address or a socket
	// Ready is nil when the process can take records; joined errors are the
	// reasons why it cannot.
	Ready   func() error
	Metrics http.Handler
	// Plugins returns the host's plugins, nil while it starts or drains. Where
	// the field is nil there is no /v1/plugins.
	Plugins func() Plugins
	// Pipelines returns the host's pipelines, as Plugins does its plugins.
	Pipelines func() Pipelines
	// States returns what the host remembers for plugins, likewise.
	States func() States
	Logger *slog.Logger
}

// Server is a running listener. Its methods are safe for concurrent use.
type Server struct {
	addr string
	http *http.Server
	done chan error
}

// Listen opens the address and serves until Close.
func Listen(cfg Config) (*Server, error) {
	l, err := open(cfg.Listen)
	if err != nil {
		return nil, err
	}
	loopback, socket := isLoopback(l.Addr()), l.Addr().Network() == "unix"
	if !loopback && !socket && cfg.Token == "" {
		l.Close()
		return nil, fmt.Errorf("admin.listen %q is not loopback and admin.token is not set; set it, or listen on 127.0.0.1", cfg.Listen)
	}
	s := &Server{addr: l.Addr().String(), done: make(chan error, 1)}
	s.http = &http.Server{
		Handler:           handler(cfg, loopback, socket),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	go func() { s.done <- s.http.Serve(l) }()
	return s, nil
}

// Addr is the address that it listens on.
func (s *Server) Addr() string { return s.addr }

// Close lets running requests end until ctx does.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	s.done <- http.ErrServerClosed
	return err
}

func handler(cfg Config, loopback, socket bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, cfg.Ready()) })
	mux.Handle("GET /metrics", guarded(cfg.Token, cfg.Metrics))
	gate := gate{token: cfg.Token, change: socket || cfg.Token != ""}
	if socket {
		gate.token = "" // whoever may open the socket may do all
	}
	if cfg.Plugins != nil {
		(&pluginAPI{plugins: cfg.Plugins, log: cfg.Logger}).routes(mux, gate)
	}
	if cfg.Pipelines != nil {
		(&pipelineAPI{pipelines: cfg.Pipelines, log: cfg.Logger}).routes(mux, gate)
	}
	if cfg.States != nil {
		(&stateAPI{states: cfg.States, log: cfg.Logger}).routes(mux, gate)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "klamm: /metrics /livez /readyz /v1/plugins /v1/pipelines /v1/states")
	})
	if loopback {
		return localHostOnly(mux)
	}
	return mux
}

// health is what /livez and /readyz answer.
type health struct {
	Schema  string   `json:"schema"`
	OK      bool     `json:"ok"`
	Reasons []string `json:"reasons"`
}

func answer(w http.ResponseWriter, err error) {
	h := health{Schema: "klamm.health/1", OK: err == nil, Reasons: reasons(err)}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(h) // the client may be gone; nobody is left to tell
}

// reasons lists joined errors one by one.
func reasons(err error) []string {
	if err == nil {
		return []string{}
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []string{err.Error()}
	}
	var all []string
	for _, e := range joined.Unwrap() {
		all = append(all, reasons(e)...)
	}
	return all
}

// guarded demands "Authorization: Bearer TOKEN" where there is a token.
func guarded(token string, next http.Handler) http.Handler {
	if token == "" {
		return next
	}
	want := []byte("Bearer " + token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="klamm"`)
			http.Error(w, "the token of [admin] is missing or wrong", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func localHostOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localName(r.Host) {
			http.Error(w, "this listener answers to localhost only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func localName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}

func sorted[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
