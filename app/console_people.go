package app

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/doctor/runbook"
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
	mux.HandleFunc("POST /api/session/acts", signedIn(w.judgeAct))
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

// judgeAct takes what a person says of an act of the doctor that waits. Their session
// alone says nothing: it takes a fresh code, or a passkey's answer for exactly this act.
func (w *watch) judgeAct(rw http.ResponseWriter, r *http.Request, v *visitor) {
	var in struct {
		ActID     string `json:"act_id"`
		Hash      string `json:"hash"`
		Agreed    bool   `json:"agreed"`
		Reason    string `json:"reason"`
		Code      string `json:"code"`
		Assertion string `json:"assertion"`
	}
	if !take(rw, r, &in) {
		return
	}
	a := runbook.Approval{ActID: in.ActID, Hash: in.Hash, Agreed: in.Agreed, Reason: in.Reason, Person: v.Name}
	if !v.visit.Local {
		if !v.Role.Covers(access.Approver) {
			refuse(rw, http.StatusForbidden, string(fault.Forbidden), "this needs the role approver")
			return
		}
		if err := w.sessions.door.Confirm(r.Context(), &v.visit, in.Code, in.Assertion, a.Sentence()); err != nil {
			refuseFault(rw, err)
			return
		}
		secret, err := consoleSecret(w.cfg.DataDir)
		if err != nil {
			refuseFault(rw, fault.New(fault.Internal, "").WithCause(err))
			return
		}
		a.Key, a.Signature, a.Proof = attestedKey, attest(secret, v.Name, a.Sentence()), in.Assertion
	}
	err := w.attendance.runner.Approve(r.Context(), a)
	switch {
	case errors.Is(err, runbook.ErrNotWaiting):
		refuse(rw, http.StatusNotFound, string(fault.NotFound), err.Error())
	case err != nil:
		refuse(rw, http.StatusForbidden, string(fault.Forbidden), err.Error())
	default:
		w.attendance.agreed()
		answer(rw, a)
	}
}

// attestedKey marks an approval that the console vouches for: it has seen the person's
// code or passkey, and says so under a secret of its own.
const attestedKey = "console"

// attest says that the person of this name said this.
func attest(secret []byte, name string, sentence []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("moneta-attest/1\n" + name + "\n"))
	m.Write(sentence)
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// consoleSecret is kept beside the journal, for its owner alone; whoever can read it can
// write the approvals themselves.
func consoleSecret(dataDir string) ([]byte, error) {
	path := filepath.Join(doctorFolder(dataDir), "console.secret")
	raw, err := os.ReadFile(path)
	if err == nil && len(raw) == sha256.Size {
		return raw, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	raw = make([]byte, sha256.Size)
	if _, err := rand.Read(raw); err != nil {
		return nil, err
	}
	if err := writeFile(path, raw, 0o600); err != nil {
		return nil, fmt.Errorf("keep the console's secret: %w", err)
	}
	return raw, nil
}
