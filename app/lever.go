package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/lever"
	"github.com/moneta-pay/moneta/lever/board"
)

// stateDir is what up gives to serve for its state on this machine.
func stateDir(dataDir string) string { return filepath.Join(dataDir, "state") }

// leverFolder is where levers are pulled while API and database are gone; empty
// without a state folder.
func leverFolder(state string) string {
	if state == "" {
		return ""
	}
	return filepath.Join(state, "levers")
}

// LeverConfig is how a command reaches the levers: as a person, with the key that up
// wrote, or by files on a node's machine.
type LeverConfig struct {
	Person  *Person
	DataDir string
	// Local uses the folder below State, or below up's own in DataDir.
	Local bool
	State string
}

// LeverOrder is a lever that somebody wants to pull.
type LeverOrder struct {
	Lever, Aim, Value, ValueZH, Reason, Owner string
	For                                       time.Duration
	DryRun                                    bool
}

func (c *LeverConfig) folder() string {
	if c.State != "" {
		return leverFolder(c.State)
	}
	return leverFolder(stateDir(c.DataDir))
}

// do asks the API: as the person, else with up's installation key.
func (c *LeverConfig) do(ctx context.Context, method, path string, body, out any) error {
	if c.Person.KeyFile == "" {
		k, err := ReadKeys(keysPath(c.DataDir))
		if err != nil {
			return errors.New("say who you are: --as FILE, or --data FOLDER of a running up")
		}
		c.Person.Bearer = k.Admin
	}
	err := c.Person.do(ctx, method, path, body, out)
	var gone *url.Error
	if errors.As(err, &gone) {
		return fmt.Errorf("%w; on a node's own machine --local needs neither API nor database", err)
	}
	return err
}

// LeverList shows what holds now.
func LeverList(ctx context.Context, c LeverConfig) error {
	if c.Local {
		return c.listLocally()
	}
	var got api.ListOf[api.Lever]
	if err := c.do(ctx, http.MethodGet, "/v1/levers", nil, &got); err != nil {
		return err
	}
	return c.show(got.Data)
}

// LeverHistory shows whatever was pulled, the newest first.
func LeverHistory(ctx context.Context, c LeverConfig, limit int) error {
	if c.Local {
		return c.listLocally()
	}
	var got api.ListOf[api.Lever]
	if err := c.do(ctx, http.MethodGet, "/v1/levers?state=all&limit="+strconv.Itoa(min(max(limit, 1), 100)), nil, &got); err != nil {
		return err
	}
	return c.show(got.Data)
}

func (c *LeverConfig) listLocally() error {
	pulls, broken, err := board.ReadLocally(c.folder())
	if err != nil {
		return err
	}
	now := time.Now()
	var out []api.Lever
	for i := range pulls {
		out = append(out, api.ShowLever(&pulls[i], now))
	}
	for _, b := range broken {
		if err := c.Person.tell("lever-broken", b); err != nil {
			return err
		}
	}
	return c.show(out)
}

// LeverPull pulls one, or tells what it would hold back.
func LeverPull(ctx context.Context, c LeverConfig, o LeverOrder) error {
	if err := c.owner(&o); err != nil {
		return err
	}
	if c.Local {
		return c.pullLocally(o)
	}
	var got api.Lever
	err := c.do(ctx, http.MethodPost, "/v1/levers", &api.NewLever{
		Lever: o.Lever, Aim: o.Aim, Value: o.Value, ValueZH: o.ValueZH, Owner: o.Owner, Reason: o.Reason,
		ForS: int32(min(o.For, 2*lever.ExpiryMax) / time.Second), DryRun: o.DryRun,
	}, &got)
	if err != nil {
		return err
	}
	return c.told(&got)
}

// owner fills in who is responsible, when that is clear.
func (c *LeverConfig) owner(o *LeverOrder) error {
	switch {
	case o.Owner != "":
		return nil
	case c.Person.KeyFile != "":
		k, err := ReadKeyFile(c.Person.KeyFile)
		o.Owner = k.Operator
		return err
	}
	return errors.New("say who sees to it that it ends: --owner NAME")
}

func (c *LeverConfig) told(l *api.Lever) error {
	if c.Person.JSON {
		return writeJSON(c.Person.Out, l)
	}
	lang := c.Person.Lang
	key := "lever-pulled"
	if l.DryRun {
		key = "lever-dry"
	}
	text := say(lang, key, l.Lever, l.Aim, l.ExpiresAt.Format(time.RFC3339), l.Owner)
	if r := l.Radius; r != nil && r.Open != nil {
		text += say(lang, "lever-open", *r.Open)
	}
	if r := l.Radius; r != nil && r.PerMinute != nil {
		text += say(lang, "lever-rate", *r.PerMinute)
	}
	if l.ID != "" {
		text += say(lang, "lever-undo", l.ID)
	}
	_, err := io.WriteString(c.Person.Out, text)
	return err
}

func (c *LeverConfig) pullLocally(o LeverOrder) error {
	aim, err := lever.ParseAim(o.Aim)
	if err != nil {
		return err
	}
	now := time.Now()
	p := lever.Pull{Lever: lever.Name(o.Lever), Aim: aim, Value: o.Value, ValueZH: o.ValueZH, Owner: o.Owner, Reason: o.Reason, By: localUser(), Expires: now.Add(o.For)}
	if o.DryRun {
		return errors.New("what it would hold back is counted in the database: leave out --local, or --dry-run")
	}
	if p, err = board.PullLocally(c.folder(), p, now); err != nil {
		return err
	}
	l := api.ShowLever(&p, now)
	if err := c.told(&l); err != nil || c.Person.JSON {
		return err
	}
	return c.Person.tell("lever-local", c.folder())
}

// localUser is who acts on this machine, as its own system knows him.
func localUser() string {
	u, err := user.Current()
	if err != nil || strings.TrimSpace(u.Username) == "" {
		return "local unknown"
	}
	return "local " + u.Username
}

// LeverUndo ends one.
func LeverUndo(ctx context.Context, c LeverConfig, id, reason string) error {
	if c.Local {
		named, err := lever.ParseID(id)
		if err != nil {
			return err
		}
		if err := board.UndoLocally(c.folder(), lever.Undo{ID: named, By: localUser(), Reason: reason}, time.Now()); err != nil {
			return err
		}
		return c.Person.tell("lever-undone", id)
	}
	var got api.Lever
	if err := c.do(ctx, http.MethodDelete, "/v1/levers/"+url.PathEscape(id)+"?reason="+url.QueryEscape(reason), nil, &got); err != nil {
		return err
	}
	if c.Person.JSON {
		return writeJSON(c.Person.Out, got)
	}
	return c.Person.tell("lever-undone", id)
}

func (c *LeverConfig) show(list []api.Lever) error {
	if c.Person.JSON {
		return writeJSON(c.Person.Out, list)
	}
	if len(list) == 0 {
		return c.Person.tell("lever-none")
	}
	t := tabwriter.NewWriter(c.Person.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tLEVER\tAIM\tVALUE\tUNTIL\tSTATE\tOWNER\tPULLED BY\tREASON")
	for i := range list {
		l := &list[i]
		state := "holds"
		switch {
		case l.UndoneAt != nil:
			state = "undone " + l.UndoneAt.Format("15:04:05Z") + " by " + l.UndoneBy
		case !l.Holds:
			state = "expired"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.Lever, l.Aim, l.Value, l.ExpiresAt.Format("2006-01-02 15:04:05Z"), state, l.Owner, l.By, l.Reason)
	}
	return t.Flush()
}

// LeverCatalogue shows the levers that there are.
func LeverCatalogue(lang string, asJSON bool, w io.Writer) error {
	type entry struct {
		Lever string   `json:"lever"`
		Class string   `json:"class"`
		Aims  []string `json:"aims"`
		Value string   `json:"value,omitempty"`
		Local bool     `json:"local"`
		Does  string   `json:"does"`
	}
	in := func(t lever.Text) string {
		if lang == "zh" {
			return t.Zh
		}
		return t.En
	}
	var all []entry
	for _, e := range lever.Catalogue() {
		x := entry{Lever: string(e.Name), Class: e.Class.String(), Value: in(e.Value), Local: e.Local, Does: in(e.Does)}
		for _, a := range e.Aims {
			x.Aims = append(x.Aims, string(a))
		}
		all = append(all, x)
	}
	if asJSON {
		return writeJSON(w, all)
	}
	for _, e := range all {
		local := ""
		if e.Local {
			local = ", --local"
		}
		if _, err := fmt.Fprintf(w, "%s (%s%s): %s\n    %s\n", e.Lever, e.Class, local, strings.Join(e.Aims, ", "), e.Does); err != nil {
			return err
		}
		if e.Value != "" {
			if _, err := fmt.Fprintf(w, "    --value: %s\n", e.Value); err != nil {
				return err
			}
		}
	}
	return nil
}
