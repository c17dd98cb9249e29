package app

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// A statement file may be as long as the API takes it; reading it and judging its
	// form may take as long as there.
	statementMax    = 64 << 20
	statementWithin = 150 * time.Second
	// breaksWithin is for an export of all breaks.
	breaksWithin = 120 * time.Second

	statementsPath = "/v1/recon/statements"
	breaksCSVPath  = "/v1/recon/breaks.csv"
)

// payBounds is how long one question to serve may take and how long its body may be. What
// people bring or take as files is longer than a form.
func payBounds(r *http.Request) (within time.Duration, body int64) {
	switch {
	case r.Method == http.MethodPost && r.URL.Path == statementsPath:
		return statementWithin, statementMax
	case r.Method == http.MethodGet && r.URL.Path == breaksCSVPath:
		return breaksWithin, payBodyMax
	}
	return payWithin, payBodyMax
}

// stretch gives a connection the time of a long question: the server's own deadlines are
// for short ones.
func stretch(rw http.ResponseWriter, r *http.Request) {
	if within, _ := payBounds(r); within > payWithin {
		c := http.NewResponseController(rw)
		end := time.Now().Add(within) // by the clock of the kernel, which ends connections
		_, _ = c.SetReadDeadline(end), c.SetWriteDeadline(end)
	}
}

// bodyOf reads the body of a question.
func bodyOf(r *http.Request, most int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > most {
		return nil, fmt.Errorf("%w: at most %d bytes", errTooLarge, most)
	}
	return body, nil
}
