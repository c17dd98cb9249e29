package app

import (
	"net/http"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
)

// signedIn is a handler for who is signed in, whoever that is.
func signedIn(do func(rw http.ResponseWriter, r *http.Request, v *visitor)) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		v, ok := visitorOf(r.Context())
		if !ok {
			refuse(rw, http.StatusUnauthorized, string(fault.Unauthenticated), "sign in first")
			return
		}
		do(rw, r, &v)
	}
}

// openSession is one of a list.
type openSession struct {
	ID       string        `json:"id"`
	Operator string        `json:"operator"`
	Method   access.Method `json:"method"`
	Client   string        `json:"client"`
	Current  bool          `json:"current"`
	MadeAt   time.Time     `json:"made_at"`
	SeenAt   time.Time     `json:"seen_at"`
	EndsAt   time.Time     `json:"ends_at"`
}

// ownPasskey is one of the person's own.
type ownPasskey struct {
	ID     string    `json:"id"`
	Label  string    `json:"label"`
	Origin string    `json:"origin"`
	MadeAt time.Time `json:"made_at"`
	UsedAt time.Time `json:"used_at,omitzero"`
}

// peopleRoutes are for who is signed in, in whichever role: their own sessions and
// passkeys, and for admins those of the tenant and invitations. They need no serve, and
// sessions not even the database.
func (w *watch) peopleRoutes(mux *http.ServeMux) {
	door := w.sessions.door
	// Somebody is there: the session goes on.
	mux.HandleFunc("POST /api/session/alive", signedIn(func(rw http.ResponseWriter, _ *http.Request, v *visitor) { w.whoAmI(rw, *v, true) }))
	mux.HandleFunc("GET /api/session/list", signedIn(func(rw http.ResponseWriter, r *http.Request, v *visitor) {
		all, err := door.Sessions(r.Context(), &v.visit)
		out := make([]openSession, len(all))
		for i, s := range all {
			out[i] = openSession{s.ID, s.Operator, s.Method, s.Client, s.ID == v.visit.Session(), s.MadeAt.UTC(), s.SeenAt.UTC(), s.EndsAt.UTC()}
		}
		answerOr(rw, out, err)
	}))
	mux.HandleFunc("DELETE /api/session/list/{id}", signedIn(func(rw http.ResponseWriter, r *http.Request, v *visitor) {
		id := r.PathValue("id")
		answerOr(rw, map[string]string{"id": id, "status": "ended"}, door.End(r.Context(), &v.visit, id))
	}))
	mux.HandleFunc("GET /api/session/passkeys", signedIn(func(rw http.ResponseWriter, r *http.Request, v *visitor) {
		all, err := door.Passkeys(r.Context(), &v.visit)
		out := make([]ownPasskey, len(all))
		for i := range all {
			out[i] = showPasskey(&all[i])
		}
		answerOr(rw, out, err)
	}))
	mux.HandleFunc("POST /api/session/passkeys/begin", signedIn(func(rw http.ResponseWriter, r *http.Request, v *visitor) {
		id, options, err := door.BeginNewPasskey(r.Context(), &v.visit)
		asked(rw, id, options, err)
	}))
	mux.HandleFunc("POST /api/session/passkeys", signedIn(func(rw http.ResponseWriter, r *http.Request, v *visitor) {
		var in ceremonyAnswered
		if take(rw, r, &in) {
			k, err := door.EndNewPasskey(r.Context(), &v.visit, in.ID, in.Answer, in.Label)
			answerOr(rw, showPasskey(&k), err)
		}
	}))
	mux.HandleFunc("DELETE /api/session/passkeys/{id}", signedIn(func(rw http.ResponseWriter, r *http.Request, v *visitor) {
		id, err := access.ParsePasskey(r.PathValue("id"))
		if err == nil {
			err = door.RemovePasskey(r.Context(), &v.visit, id)
		}
		answerOr(rw, map[string]string{"status": "removed"}, err)
	}))
	mux.HandleFunc("POST /api/session/invitations", signedIn(w.invite))
}

func showPasskey(k *access.PasskeyRecord) ownPasskey {
	return ownPasskey{access.PasskeyText(k.ID), k.Label, k.Origin, k.MadeAt, k.UsedAt}
}

// invitation is shown once, to who made it.
type invitation struct {
	Name string      `json:"name"`
	Role access.Role `json:"role"`
	// Link is for the person alone.
	Link string `json:"link"`
	// Credential goes into the proposal add_operator when two must agree.
	Credential string `json:"credential"`
	// Added says that nobody else needs to agree.
	Added bool `json:"added"`
}

func (w *watch) invite(rw http.ResponseWriter, r *http.Request, v *visitor) {
	var in struct {
		Name string
		Role access.Role
	}
	if !take(rw, r, &in) {
		return
	}
	token, credential, added, err := w.sessions.door.Invite(r.Context(), &v.visit, in.Name, in.Role)
	answerOr(rw, invitation{in.Name, in.Role, w.sessions.origin.String() + "/enrol#token=" + token, credential, added}, err)
}
