package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/boombuler/barcode/qr"

	"github.com/moneta-pay/moneta/fault"
)

// ceremonyAsked is what a browser's authenticator is asked.
type ceremonyAsked struct {
	ID      string          `json:"id"`
	Options json.RawMessage `json:"options"`
}

// ceremonyAnswered is what it answers.
type ceremonyAnswered struct {
	ID     string          `json:"id"`
	Answer json.RawMessage `json:"answer"`
	Label  string          `json:"label,omitempty"`
	Token  string          `json:"token,omitempty"`
}

// enterRoutes are for people who are not in yet: anybody may call them. A page of another
// site may not, which is seen by where its request comes from.
func (w *watch) enterRoutes(mux *http.ServeMux) {
	const at = "POST /api/session/enter/"
	mux.HandleFunc(at+"passkey/begin", func(rw http.ResponseWriter, _ *http.Request) {
		id, options, err := w.sessions.door.BeginPasskey()
		asked(rw, id, options, err)
	})
	mux.HandleFunc(at+"passkey", func(rw http.ResponseWriter, r *http.Request) {
		var in ceremonyAnswered
		if take(rw, r, &in) {
			v, err := w.sessions.door.EndPasskey(r.Context(), in.ID, in.Answer, r.UserAgent())
			w.entered(rw, r, v, err)
		}
	})
	mux.HandleFunc(at+"code", func(rw http.ResponseWriter, r *http.Request) {
		var in struct{ Name, Pass, Code string }
		if take(rw, r, &in) {
			v, err := w.sessions.door.SignIn(r.Context(), strings.TrimSpace(in.Name), strings.TrimSpace(in.Pass), strings.TrimSpace(in.Code), r.UserAgent())
			w.entered(rw, r, v, err)
		}
	})
	mux.HandleFunc(at+"invitation", func(rw http.ResponseWriter, r *http.Request) {
		var in struct{ Token string }
		if take(rw, r, &in) {
			who, err := w.sessions.door.Invited(r.Context(), in.Token)
			answerOr(rw, who, err)
		}
	})
	mux.HandleFunc(at+"invitation/passkey/begin", func(rw http.ResponseWriter, r *http.Request) {
		var in struct{ Token string }
		if take(rw, r, &in) {
			id, options, err := w.sessions.door.BeginEnrolPasskey(r.Context(), in.Token)
			asked(rw, id, options, err)
		}
	})
	mux.HandleFunc(at+"invitation/passkey", func(rw http.ResponseWriter, r *http.Request) {
		var in ceremonyAnswered
		if take(rw, r, &in) {
			v, err := w.sessions.door.EndEnrolPasskey(r.Context(), in.Token, in.ID, in.Answer, in.Label, r.UserAgent())
			w.entered(rw, r, v, err)
		}
	})
	mux.HandleFunc(at+"invitation/codes/begin", w.beginCodes)
	mux.HandleFunc(at+"invitation/codes", func(rw http.ResponseWriter, r *http.Request) {
		var in struct{ Token, ID, Code string }
		if take(rw, r, &in) {
			v, err := w.sessions.door.EndEnrolCodes(r.Context(), in.Token, in.ID, strings.TrimSpace(in.Code), r.UserAgent())
			w.entered(rw, r, v, err)
		}
	})
}

func asked(rw http.ResponseWriter, id string, options json.RawMessage, err error) {
	answerOr(rw, ceremonyAsked{id, options}, err)
}

// answerOr answers, or says why not.
func answerOr(rw http.ResponseWriter, v any, err error) {
	if err != nil {
		refuseFault(rw, err)
		return
	}
	answer(rw, v)
}

// newCodes are shown once.
type newCodes struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Pass    string `json:"pass"`
	Secret  string `json:"secret"`
	Address string `json:"address"`
	// QR is the address as a picture: SVG.
	QR string `json:"qr"`
}

func (w *watch) beginCodes(rw http.ResponseWriter, r *http.Request) {
	var in struct{ Token string }
	if !take(rw, r, &in) {
		return
	}
	c, err := w.sessions.door.BeginEnrolCodes(r.Context(), in.Token)
	if err != nil {
		refuseFault(rw, err)
		return
	}
	picture, err := qrPicture(c.Address)
	if err != nil {
		refuseFault(rw, fault.New(fault.Internal, "").WithCause(err))
		return
	}
	answer(rw, newCodes{c.ID, c.Name, c.Pass, c.Secret, c.Address, picture})
}

// qrQuiet is the margin that a reader needs, in modules (ISO/IEC 18004 §6.3.8).
const qrQuiet = 4

// qrPicture draws a text as a QR code: SVG, black on white in every theme.
func qrPicture(text string) (string, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return "", fmt.Errorf("draw the code: %w", err)
	}
	side := code.Bounds().Dx()
	var path strings.Builder
	for y := range side {
		for x := range side {
			if r, _, _, _ := code.At(x, y).RGBA(); r == 0 {
				fmt.Fprintf(&path, "M%d %dh1v1h-1z", x+qrQuiet, y+qrQuiet)
			}
		}
	}
	all := side + 2*qrQuiet
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %[1]d" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h%[1]dv%[1]dH0z"/><path d="%s"/></svg>`, all, path.String()), nil
}
