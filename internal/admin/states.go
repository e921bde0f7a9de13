package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/klamm-io/klamm/host"
)

// States is what the listener may see of, and do to, what a running host
// remembers for plugins. *host.States implements it.
type States interface {
	Info(ctx context.Context, name string) ([]host.StateInfo, error)
	FindID(name string, q host.StateQuery) ([]host.StateID, error)
	ForgetID(name string, q host.StateQuery) ([]host.StateID, error)
	EachID(name string, f func(id host.StateID) error) error
}

// Answers of /v1/states, with their schemas.
type (
	StatesAnswer struct {
		Schema string           `json:"schema"` // klamm.states/1
		States []host.StateInfo `json:"states"`
	}
	StateIDsAnswer struct {
		Schema string         `json:"schema"` // klamm.state-ids/1
		State  string         `json:"state"`
		IDs    []host.StateID `json:"ids"`
	}
	// StateQuery is the body of a question for one id.
	StateQuery struct {
		ID     []byte `json:"id"` // base64
		Plugin string `json:"plugin,omitempty"`
		Topic  string `json:"topic,omitempty"`
	}
)

// stateAPI serves /v1/states.
type stateAPI struct {
	states func() States // nil while the host starts or drains
	log    *slog.Logger
}

func (a *stateAPI) routes(mux *http.ServeMux, g gate) {
	mux.Handle("GET /v1/states", g.reads(a.ready(a.info)))
	mux.Handle("GET /v1/states/{name}", g.reads(a.ready(a.info)))
	mux.Handle("GET /v1/states/{name}/ids", g.reads(a.ready(a.export)))
	mux.Handle("POST /v1/states/{name}/find", g.reads(a.ready(a.find)))
	mux.Handle("POST /v1/states/{name}/forget", g.changes(a.ready(a.forget)))
}

// ready refuses while there is no host.
func (a *stateAPI) ready(next func(s States, w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s := a.states(); s != nil {
			next(s, w, r)
			return
		}
		unready(w)
	}
}

func (a *stateAPI) info(s States, w http.ResponseWriter, r *http.Request) {
	infos, err := s.Info(r.Context(), r.PathValue("name"))
	if err != nil {
		refuse(w, statusOfState(err), err)
		return
	}
	reply(w, http.StatusOK, StatesAnswer{Schema: "klamm.states/1", States: infos})
}

func (a *stateAPI) find(s States, w http.ResponseWriter, r *http.Request) {
	a.one(w, r, s.FindID)
}

func (a *stateAPI) forget(s States, w http.ResponseWriter, r *http.Request) {
	a.one(w, r, func(name string, q host.StateQuery) ([]host.StateID, error) {
		gone, err := s.ForgetID(name, q)
		a.log.Info("admin", "change", "forget", "state", name, "ids", len(gone), "from", r.RemoteAddr, "error", err)
		return gone, err
	})
}

// queryMax bounds the body of a question: an id is at most a record's key.
const queryMax = 4 << 20

func (a *stateAPI) one(w http.ResponseWriter, r *http.Request, do func(string, host.StateQuery) ([]host.StateID, error)) {
	var q StateQuery
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, queryMax)).Decode(&q); err != nil {
		refuse(w, http.StatusBadRequest, errors.New(`the body is {"id": BASE64, "plugin": NAME, "topic": NAME}: `+err.Error()))
		return
	}
	name := r.PathValue("name")
	ids, err := do(name, host.StateQuery(q))
	if err != nil {
		refuse(w, statusOfState(err), err)
		return
	}
	reply(w, http.StatusOK, StateIDsAnswer{Schema: "klamm.state-ids/1", State: name, IDs: ids})
}

// export streams one JSON object a line. What goes wrong after the first one
// breaks the connection off, so that nobody takes a part for the whole.
func (a *stateAPI) export(s States, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	begun := false
	enc := json.NewEncoder(w)
	err := s.EachID(r.PathValue("name"), func(id host.StateID) error {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", linesType)
		}
		return errors.Join(r.Context().Err(), enc.Encode(id))
	})
	switch {
	case err != nil && !begun:
		refuse(w, statusOfState(err), err)
	case err != nil:
		a.log.Warn("admin", "export", r.PathValue("name"), "error", err)
		panic(http.ErrAbortHandler)
	case !begun:
		w.Header().Set("Content-Type", linesType)
	}
}

const linesType = "application/x-ndjson"

func statusOfState(err error) int {
	var unknown *host.UnknownStateError
	switch {
	case errors.As(err, &unknown):
		return http.StatusNotFound
	case errors.Is(err, host.ErrStateNotShown), errors.Is(err, host.ErrIDInFlight):
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}

// States returns the states of the host, or the one that is named.
func (c *Client) States(ctx context.Context, name string) (out StatesAnswer, err error) {
	path := "/v1/states"
	if name != "" {
		path = statePath(name, "")
	}
	return out, c.do(ctx, http.MethodGet, path, nil, nil, &out)
}

// FindID returns what a state knows of an id.
func (c *Client) FindID(ctx context.Context, state string, q host.StateQuery) (out StateIDsAnswer, err error) {
	return out, c.ask(ctx, statePath(state, "/find"), q, &out)
}

// ForgetID takes an id out of what a state remembers.
func (c *Client) ForgetID(ctx context.Context, state string, q host.StateQuery) (out StateIDsAnswer, err error) {
	return out, c.ask(ctx, statePath(state, "/forget"), q, &out)
}

func (c *Client) ask(ctx context.Context, path string, q host.StateQuery, out any) error {
	body, err := json.Marshal(StateQuery(q))
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, http.Header{"Content-Type": {"application/json"}}, body, out)
}

// ExportIDs copies the lines of a state's ids to w, as they come.
func (c *Client) ExportIDs(ctx context.Context, state string, w io.Writer) error {
	resp, err := c.send(ctx, http.MethodGet, statePath(state, "/ids"), nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	_, err = io.Copy(w, resp.Body)
	return err
}
