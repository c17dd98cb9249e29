package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/console"
	"github.com/moneta-pay/moneta/internal/clock"
)

// ConsoleLinkConfig is what `moneta console link` was asked for.
type ConsoleLinkConfig struct {
	DataDir string
	// KeyFile is that of the operator who wants in; empty is the person at this machine.
	KeyFile  string
	Lang     string
	JSON     bool
	Out, Err io.Writer
}

// ConsoleLink asks the running watch for a one-time link. Whoever may read watch.json
// may have one.
func ConsoleLink(ctx context.Context, cfg ConsoleLinkConfig) error {
	at, err := findWatch(cfg.DataDir)
	if err != nil {
		return fmt.Errorf("%w: start `moneta up` or `moneta watch`, or name its folder with --data", err)
	}
	asked, err := signLink(cfg.KeyFile, cmp.Or(at.Console, byName(at.URL)))
	if err != nil {
		return err
	}
	link, err := at.link(ctx, asked)
	if err != nil {
		return err
	}
	if cfg.JSON {
		return writeJSON(cfg.Out, link)
	}
	if _, err := fmt.Fprintln(cfg.Out, link.URL); err != nil {
		return err
	}
	_, err = fmt.Fprint(cfg.Err, say(cfg.Lang, "console-link", link.Expires.Local().Format("15:04:05 MST")))
	return err
}

// signLink asks as the operator of a key file.
func signLink(keyFile, origin string) (linkAsked, error) {
	if keyFile == "" {
		return linkAsked{}, nil
	}
	k, err := ReadKeyFile(keyFile)
	if err != nil {
		return linkAsked{}, err
	}
	at := clock.System.Now().UTC().Format(time.RFC3339)
	public, signature, err := k.SignText(access.LinkStatement(origin, at))
	return linkAsked{Key: public, Signature: signature, At: at}, err
}

// link asks for one.
func (w *watching) link(ctx context.Context, asked linkAsked) (consoleLink, error) {
	var out consoleLink
	body, err := json.Marshal(asked)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(w.URL, "/")+"/console/links", bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	req.Header.Set("Authorization", "Bearer "+w.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return out, fmt.Errorf("%w: it does not answer: %w", errNoWatch, err)
	}
	defer func() { _ = res.Body.Close() }()
	var why consoleProblem
	if res.StatusCode != http.StatusOK && json.NewDecoder(io.LimitReader(res.Body, askMax)).Decode(&why) == nil && why.Detail != "" {
		return out, errors.New(why.Detail)
	}
	if res.StatusCode != http.StatusOK {
		return out, fmt.Errorf("the watch at %s answered %s: it may be an older one", w.URL, res.Status)
	}
	return out, json.NewDecoder(io.LimitReader(res.Body, askMax)).Decode(&out)
}

// consoleHint is what follows the console's address.
func consoleHint(lang string) string {
	if !console.Built() {
		return say(lang, "up-console-bare")
	}
	return say(lang, "up-console-link")
}

// awaitWatch waits until the watch that is this process has said how it is reached; a
// note of one before it does not count.
func awaitWatch(ctx context.Context, dataDir string, pid func() int) (*watching, error) {
	for {
		at, err := findWatch(dataDir)
		if err == nil && at.PID == pid() {
			return at, nil
		}
		if err != nil && !errors.Is(err, errNoWatch) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(25 * time.Millisecond):
		}
	}
}
