package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"

	"github.com/klamm-io/klamm/host"
)

// Plugins is what the listener may do to the plugins of a running host.
// *host.Host implements it.
type Plugins interface {
	Deploy(ctx context.Context, name string, wasm, signature []byte) (host.Deployment, error)
	Rollback(ctx context.Context, name string) (host.Deployment, error)
	History(name string) ([]host.Deployment, error)
	Stats() host.Stats
}

const (
	// moduleMax is the largest module that is taken, as the guard's.
	moduleMax = 16 << 20
	// HeaderSignature carries the ed25519 signature of a deployed module, base64.
	HeaderSignature = "Klamm-Signature"
	moduleType      = "application/wasm"
)

// PluginStatus is one plugin in the answer of /v1/plugins.
type PluginStatus struct {
	Name string `json:"name"`
	host.PluginStats
}

// Answers of the API, with their schemas.
type (
	StatusAnswer struct {
		Schema  string         `json:"schema"` // klamm.plugins/1
		Plugins []PluginStatus `json:"plugins"`
	}
	HistoryAnswer struct {
		Schema      string            `json:"schema"` // klamm.history/1
		Plugin      string            `json:"plugin"`
		Deployments []host.Deployment `json:"deployments"`
	}
	DeployAnswer struct {
		Schema string `json:"schema"` // klamm.deploy/1
		Plugin string `json:"plugin"`
		host.Deployment
	}
	ErrorAnswer struct {
		Schema string `json:"schema"` // klamm.error/1
		Error  string `json:"error"`
	}
)

// pluginAPI serves /v1/plugins.
type pluginAPI struct {
	plugins func() Plugins // nil while the host starts or drains
	log     *slog.Logger
}

func (a *pluginAPI) routes(mux *http.ServeMux, g gate) {
	mux.Handle("GET /v1/plugins", g.reads(a.status))
	mux.Handle("GET /v1/plugins/{name}/history", g.reads(a.history))
	mux.Handle("POST /v1/plugins/{name}/deploy", g.changes(a.deploy))
	mux.Handle("POST /v1/plugins/{name}/rollback", g.changes(a.rollback))
}

func (a *pluginAPI) status(w http.ResponseWriter, _ *http.Request) {
	p := a.plugins()
	if p == nil {
		unready(w)
		return
	}
	stats := p.Stats().Plugins
	out := StatusAnswer{Schema: "klamm.plugins/1", Plugins: []PluginStatus{}}
	for _, name := range sorted(stats) {
		out.Plugins = append(out.Plugins, PluginStatus{Name: name, PluginStats: stats[name]})
	}
	reply(w, http.StatusOK, out)
}

func (a *pluginAPI) history(w http.ResponseWriter, r *http.Request) {
	p := a.plugins()
	if p == nil {
		unready(w)
		return
	}
	list, err := p.History(r.PathValue("name"))
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	reply(w, http.StatusOK, HistoryAnswer{Schema: "klamm.history/1", Plugin: r.PathValue("name"), Deployments: list})
}

func (a *pluginAPI) deploy(w http.ResponseWriter, r *http.Request) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != moduleType {
		refuse(w, http.StatusUnsupportedMediaType, fmt.Errorf("the body is a module: Content-Type: %s", moduleType))
		return
	}
	wasm, err := io.ReadAll(http.MaxBytesReader(w, r.Body, moduleMax))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Errorf("read the module, of at most %d bytes: %w", moduleMax, err))
		return
	}
	var signature []byte
	if text := r.Header.Get(HeaderSignature); text != "" {
		if signature, err = base64.StdEncoding.DecodeString(text); err != nil {
			refuse(w, http.StatusBadRequest, fmt.Errorf("%s is not base64: %w", HeaderSignature, err))
			return
		}
	}
	a.change1(w, r, "deploy", func(p Plugins, name string) (host.Deployment, error) {
		return p.Deploy(r.Context(), name, wasm, signature)
	})
}

func (a *pluginAPI) rollback(w http.ResponseWriter, r *http.Request) {
	a.change1(w, r, "rollback", func(p Plugins, name string) (host.Deployment, error) {
		return p.Rollback(r.Context(), name)
	})
}

// change1 makes one change and writes the audit line.
func (a *pluginAPI) change1(w http.ResponseWriter, r *http.Request, what string, change func(Plugins, string) (host.Deployment, error)) {
	p, name := a.plugins(), r.PathValue("name")
	if p == nil {
		unready(w)
		return
	}
	d, err := change(p, name)
	a.log.Info("admin", "change", what, "plugin", name, "digest", d.Digest, "generation", d.Generation, "from", r.RemoteAddr, "error", err)
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	reply(w, http.StatusOK, DeployAnswer{Schema: "klamm.deploy/1", Plugin: name, Deployment: d})
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, host.ErrUnknownPlugin):
		return http.StatusNotFound
	case errors.Is(err, host.ErrNoRollback):
		return http.StatusConflict
	}
	return http.StatusUnprocessableEntity
}

func unready(w http.ResponseWriter) {
	refuse(w, http.StatusServiceUnavailable, errors.New("the host is starting, or draining; try again"))
}

func refuse(w http.ResponseWriter, status int, err error) {
	reply(w, status, ErrorAnswer{Schema: "klamm.error/1", Error: err.Error()})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone; nobody is left to tell
}
