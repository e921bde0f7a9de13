package admin

import (
	"errors"
	"net/http"
)

// gate decides who may call the API. Reading needs what /metrics needs. Changing
// needs the unix socket, whose mode is the permission, or the token, also on a
// loopback address: any program of any user can reach that.
type gate struct {
	token  string // "" where none is asked for
	change bool   // whether changing is possible at all
}

func (g gate) reads(next http.HandlerFunc) http.Handler { return guarded(g.token, next) }

// changes refuses what a web page could have sent, and listeners without a
// permission.
func (g gate) changes(next http.HandlerFunc) http.Handler {
	return guarded(g.token, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Origin") != "":
			refuse(w, http.StatusForbidden, errors.New("requests from web pages are refused"))
		case !g.change:
			refuse(w, http.StatusForbidden, errors.New(`a running host is changed over a unix socket or with a token only: set admin.listen = "unix:PATH", or admin.token`))
		default:
			next(w, r)
		}
	}))
}
