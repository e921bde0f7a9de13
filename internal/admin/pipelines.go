package admin

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/klamm-io/klamm/host"
)

// Pipelines is what the listener may do to the pipelines of a running host.
// *host.Host implements it.
type Pipelines interface {
	Pipelines() []host.PipelineInfo
	PausePipeline(name string) error
	ResumePipeline(name string) error
}

// PipelinesAnswer is the answer of /v1/pipelines, also after a change.
type PipelinesAnswer struct {
	Schema    string              `json:"schema"` // klamm.pipelines/1
	Pipelines []host.PipelineInfo `json:"pipelines"`
}

// pipelineAPI serves /v1/pipelines.
type pipelineAPI struct {
	pipelines func() Pipelines // nil while the host starts or drains
	log       *slog.Logger
}

func (a *pipelineAPI) routes(mux *http.ServeMux, g gate) {
	mux.Handle("GET /v1/pipelines", g.reads(func(w http.ResponseWriter, r *http.Request) { a.answer(w, a.pipelines()) }))
	mux.Handle("POST /v1/pipelines/{name}/pause", g.changes(func(w http.ResponseWriter, r *http.Request) {
		a.set(w, r, "pause", Pipelines.PausePipeline)
	}))
	mux.Handle("POST /v1/pipelines/{name}/resume", g.changes(func(w http.ResponseWriter, r *http.Request) {
		a.set(w, r, "resume", Pipelines.ResumePipeline)
	}))
}

func (a *pipelineAPI) answer(w http.ResponseWriter, p Pipelines) {
	if p == nil {
		unready(w)
		return
	}
	reply(w, http.StatusOK, PipelinesAnswer{Schema: "klamm.pipelines/1", Pipelines: p.Pipelines()})
}

// set makes one change and writes the audit line.
func (a *pipelineAPI) set(w http.ResponseWriter, r *http.Request, what string, change func(Pipelines, string) error) {
	p, name := a.pipelines(), r.PathValue("name")
	if p == nil {
		unready(w)
		return
	}
	err := change(p, name)
	a.log.Info("admin", "change", what, "pipeline", name, "from", r.RemoteAddr, "error", err)
	switch {
	case errors.Is(err, host.ErrUnknownPipeline):
		refuse(w, http.StatusNotFound, err)
	case err != nil:
		refuse(w, http.StatusUnprocessableEntity, err)
	default:
		a.answer(w, p)
	}
}
