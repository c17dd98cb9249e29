package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/catalog"
	"github.com/moneta-pay/moneta/doctor/runbook"
)

// RunbookConfig is how the commands about runbooks reach the doctor and his files.
type RunbookConfig struct {
	Person  *Person
	Watch   WatchConfig
	DataDir string
}

// RunbookOrder is a cause that a person wants acted on.
type RunbookOrder struct {
	Cause, Incident, Phase, Hop string
	// Detail fills in {pid} and the like.
	Detail map[string]string
	DryRun bool
}

// RunbookList shows the causes that have steps.
func RunbookList(c RunbookConfig) error {
	all := catalog.All()
	if c.Person.JSON {
		return writeJSON(c.Person.Out, all)
	}
	t := tabwriter.NewWriter(c.Person.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "CAUSE\tCONTAIN\tREPAIR\tNAME")
	for i := range all {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\n", all[i].ID, len(all[i].Contain), len(all[i].Repair), all[i].Name.In(c.Person.Lang))
	}
	return t.Flush()
}

// RunbookShow shows the steps of one cause, and what never to do.
func RunbookShow(c RunbookConfig, id string) error {
	x, err := causeOf(id)
	if err != nil {
		return err
	}
	if c.Person.JSON {
		return writeJSON(c.Person.Out, x)
	}
	lang, out := c.Person.Lang, c.Person.Out
	fmt.Fprintf(out, "%s: %s\n%s\n", x.ID, x.Name.In(lang), x.Explains.In(lang))
	for _, part := range []struct {
		name  string
		steps []doctor.Step
	}{{"contain", x.Contain}, {"repair", x.Repair}} {
		for i := range part.steps {
			s := &part.steps[i]
			fmt.Fprintf(out, "\n%s %d. %s: %s %s%s\n    %s\n", part.name, i+1, s.ID, s.Do, s.Aim, withOf(s.With), s.Why.In(lang))
			if s.If != "" {
				fmt.Fprintf(out, "    if %s\n", s.If)
			}
			if s.Until != "" {
				fmt.Fprintf(out, "    until %s, within %s\n", s.Until, s.Within)
			}
		}
	}
	for _, n := range x.Never {
		fmt.Fprintf(out, "\nnever: %s\n", n.In(lang))
	}
	return nil
}

func causeOf(id string) (doctor.Cause, error) {
	x, ok := catalog.ByID(id)
	if !ok {
		return x, fmt.Errorf("the catalogue has no cause %q; moneta runbook list shows them", id)
	}
	return x, nil
}

func withOf(with map[string]string) string {
	var all []string
	for k, v := range with {
		all = append(all, fmt.Sprintf(" %s=%q", k, v))
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

// RunbookRun carries out one cause's steps for an incident, or tries them. It waits for
// people, and goes on with a run that was broken off.
func RunbookRun(ctx context.Context, c RunbookConfig, o RunbookOrder) error {
	x, err := causeOf(o.Cause)
	if err != nil {
		return err
	}
	q := runbook.Request{
		Incident: o.Incident, Cause: x.ID, Phase: runbook.Phase(o.Phase), Hop: o.Hop, Kind: x.Kind, Detail: o.Detail, Who: localUser(), Wait: true, Dry: o.DryRun,
		Steps: x.Repair,
	}
	if q.Phase == runbook.Contain {
		q.Steps = x.Contain
	}
	r, err := c.runner(ctx)
	if err != nil {
		return err
	}
	if !o.DryRun {
		fmt.Fprintf(c.Person.Err, "acts that wait for people: moneta runbook status\n")
	}
	out, err := r.Run(ctx, q)
	switch {
	case errors.Is(err, runbook.ErrBusy):
		return fmt.Errorf("%w: moneta runbook status shows how far it is", err)
	case err != nil:
		return err
	}
	if err := c.show([]runbook.Result{out}); err != nil {
		return err
	}
	if out.Became == runbook.Failed {
		return &ExitError{1, "a step failed, and what was done before it is taken back"}
	}
	return nil
}

// runner is one of this process. Its readings are those of a running watch; without
// one nothing is known, and a step that asks for a reading is skipped.
func (c *RunbookConfig) runner(ctx context.Context) (*runbook.Runner, error) {
	dsn, err := Database{DSN: c.Watch.DSN, DataDir: c.DataDir}.dsn(ctx)
	if err != nil {
		fmt.Fprintf(c.Person.Err, "without the database: %v\n", err)
	}
	state := c.Watch.State
	if state == "" {
		state = stateDir(c.DataDir)
	}
	all, err := hands(HandsConfig{
		DSN: dsn, URL: c.Watch.ServeURL, Levers: leverFolder(state), Key: c.installationKey,
		Tell: func(_ context.Context, a doctor.Act) error {
			_, err := fmt.Fprintf(c.Person.Err, "tell %s: %s\n", a.With["to"], a.Why)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	return runbook.New(runbook.Config{
		Dir: c.runs(), Hands: all, Look: func() *doctor.Evidence { return c.evidence(ctx) }, Person: c.people(dsn).person,
		Policy: runbook.Policy{Alone: c.Watch.alone()},
	})
}

func (c *RunbookConfig) runs() string { return filepath.Join(doctorFolder(c.DataDir), runsFolder) }

func (c *RunbookConfig) people(dsn string) *people {
	return &people{dsn: dsn, file: filepath.Join(doctorFolder(c.DataDir), peopleFile), session: filepath.Join(doctorFolder(c.DataDir), sessionKeyFile)}
}

func (c *RunbookConfig) installationKey() (string, error) {
	k, err := ReadKeys(keysPath(c.DataDir))
	return k.Admin, err
}

// evidence is that of the running watch, or nil.
func (c *RunbookConfig) evidence(ctx context.Context) *doctor.Evidence {
	w, err := findWatch(c.DataDir)
	if err != nil {
		return nil
	}
	raw, err := w.get(ctx, "/evidence")
	if err != nil {
		return nil
	}
	var e doctor.Evidence
	if json.Unmarshal(raw, &e) != nil {
		return nil
	}
	return &e
}

// RunbookStatus shows what was carried out, and what waits for whom.
func RunbookStatus(c RunbookConfig) error {
	all, err := runbook.Runs(c.runs())
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b runbook.Result) int { return lastOf(&a).Compare(lastOf(&b)) })
	return c.show(all)
}

func lastOf(r *runbook.Result) (at time.Time) {
	for i := range r.Steps {
		if r.Steps[i].At.After(at) {
			at = r.Steps[i].At
		}
	}
	return at
}

func (c *RunbookConfig) show(all []runbook.Result) error {
	out := c.Person.Out
	if c.Person.JSON {
		return writeJSON(out, all)
	}
	if len(all) == 0 {
		fmt.Fprintln(out, "no run yet")
	}
	for i := range all {
		r := &all[i]
		fmt.Fprintf(out, "%s: %s\n", r.Run, r.Became)
		for k := range r.Steps {
			showStep(out, &r.Steps[k])
		}
	}
	return nil
}

func showStep(out io.Writer, s *runbook.StepResult) {
	fmt.Fprintf(out, "  %-8s %s: %s %s%s\n", s.Became, s.Act.Step, s.Act.Do, s.Act.Aim, withOf(s.Act.With))
	if ch := &s.Change; ch.Before != "" || ch.After != "" {
		fmt.Fprintf(out, "           %s -> %s\n", ch.Before, ch.After)
	}
	if s.Error != "" {
		fmt.Fprintf(out, "           %s\n", s.Error)
	}
	if s.Became == runbook.Waits {
		fmt.Fprintf(out, "           %d to agree until %s: moneta runbook approve %s --hash %s --reason …\n", s.Needs, s.Until.Format(time.RFC3339), s.Act.ID, s.Hash)
	}
}

// RunbookApprove says yes or no to an act that waits: signed by whoever --as names.
func RunbookApprove(ctx context.Context, c RunbookConfig, id, hash, reason string, agreed bool) error {
	a := runbook.Approval{ActID: id, Hash: hash, Agreed: agreed, Reason: reason, Person: localUser()}
	if c.Person.KeyFile != "" {
		k, err := ReadKeyFile(c.Person.KeyFile)
		if err != nil {
			return err
		}
		a.Person = k.Operator
		if a.Key, a.Signature, err = k.SignText(a.Sentence()); err != nil {
			return err
		}
	}
	err := c.viaWatch(ctx, &a)
	if errors.Is(err, errNoWatch) {
		var r *runbook.Runner
		if r, err = c.runner(ctx); err == nil {
			err = r.Approve(ctx, a)
		}
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.Person.Out, "kept; the run goes on when enough people agree")
	return err
}

func (c *RunbookConfig) viaWatch(ctx context.Context, a *runbook.Approval) error {
	w, err := findWatch(c.DataDir)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(a)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(w.URL, "/")+"/approvals", bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+w.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoWatch, err)
	}
	defer func() { _ = res.Body.Close() }()
	said, _ := io.ReadAll(io.LimitReader(res.Body, askMax))
	if res.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(said)))
	}
	return nil
}
