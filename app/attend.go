package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/attend"
	"github.com/moneta-pay/moneta/doctor/catalog"
	"github.com/moneta-pay/moneta/doctor/diagnose"
	"github.com/moneta-pay/moneta/doctor/journal"
	"github.com/moneta-pay/moneta/doctor/prove"
	"github.com/moneta-pay/moneta/doctor/runbook"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/lever"
)

// Folders of the doctor, below doctorFolder.
const (
	journalFolder  = "journal"
	evidenceFolder = "evidence"
	proofsFolder   = "proofs"
	// peopleFile keeps who may approve, for when the database does not tell.
	peopleFile = "people.json"
	// sessionKeyFile is what the console vouches with for who is signed in.
	sessionKeyFile = "session.key"
	runsFolder     = "runs"
)

const (
	// letGoFor is for how long it is watched after each thing that was held and is let go.
	letGoFor = 2 * time.Second
	// proofWithin bounds the recount at the end of an incident.
	proofWithin = 10 * time.Minute
	// tellWithin bounds a line of the journal about an act.
	tellWithin = 5 * time.Second
)

// attendance joins the stations of the doctor: what it saw, judges, does and proves.
type attendance struct {
	folder  string // doctorFolder
	clock   clock.Clock
	log     *slog.Logger
	causes  []doctor.Cause
	look    func(since time.Time, s doctor.Symptom) *doctor.Evidence
	prover  ProveConfig
	journal *journal.Journal
	runner  *runbook.Runner
	it      *attend.Attendant
	people  *people
	hands   []doctor.Hand

	// works are runs that go on because somebody has agreed; end ends them.
	works sync.WaitGroup
	going context.Context //nolint:containedctx // as long as the attendance
	end   context.CancelFunc

	mu     sync.Mutex
	owners map[string]string // of the findings of the newest proof that are listed breaks
	proofs int
	newest *doctor.Evidence
}

// newAttendance opens the journal, goes on with the incident that is open in it, and
// starts nothing.
func newAttendance(ctx context.Context, cfg *WatchConfig, look func(time.Time, doctor.Symptom) *doctor.Evidence, c clock.Clock, log *slog.Logger) (a *attendance, err error) {
	a = &attendance{
		folder: doctorFolder(cfg.DataDir), clock: c, log: log, causes: catalog.All(), look: look,
		prover: ProveConfig{Database: Database{DSN: cfg.DSN, DataDir: cfg.DataDir}, Config: cfg.Config, SandboxURL: cfg.SandboxURL, Within: proofWithin},
	}
	a.going, a.end = context.WithCancel(context.WithoutCancel(ctx))
	if a.journal, err = journal.OpenWith(filepath.Join(a.folder, journalFolder), journal.Options{Clock: c}); err != nil {
		return a, fmt.Errorf("the doctor's journal: %w", err)
	}
	all, err := hands(cfg.hands(a.tellPeople))
	if err != nil {
		return a, err
	}
	a.hands = all
	who := &people{dsn: cfg.DSN, file: filepath.Join(a.folder, peopleFile), session: filepath.Join(a.folder, sessionKeyFile)}
	a.people = who
	if _, err := who.signers(ctx); err != nil { // kept now, for when the database is the patient
		log.LogAttrs(ctx, slog.LevelWarn, "nobody can approve acts of the doctor", slog.Any("error", err))
	}
	a.runner, err = runbook.New(runbook.Config{
		Dir: filepath.Join(a.folder, runsFolder), Hands: all, Look: a.evidence, Told: a.signsTold, Tell: a.tellOfAct, Person: who.person,
		Policy: runbook.Policy{Alone: cfg.alone(), ActsPerHour: cfg.ActsPerHour}, Clock: c, Logger: log,
	})
	if err != nil {
		return a, err
	}
	for i := range a.causes {
		x := &a.causes[i]
		if err := errors.Join(a.runner.Check(x.Contain), a.runner.Check(x.Repair)); err != nil {
			log.LogAttrs(ctx, slog.LevelWarn, "a cause has steps that nobody here can do", slog.String("cause", x.ID), slog.Any("error", err))
		}
	}
	a.it = attend.New(a.config(), a.unfinished())
	return a, nil
}

// hands are all that the doctor can do. The children of up are started again when they
// end, so that one may be ended only by a watch that up has started itself.
func (c *WatchConfig) hands(tell func(context.Context, doctor.Act) error) HandsConfig {
	h := HandsConfig{DSN: c.DSN, URL: c.ServeURL, Key: c.installationKey, Levers: leverFolder(c.State), Tell: tell}
	if lifecycle.Supervised() {
		h.Supervisor = os.Getppid()
	}
	return h
}

// installationKey is the one that up wrote.
func (c *WatchConfig) installationKey() (string, error) {
	keys, err := ReadKeys(keysPath(c.DataDir))
	return keys.Admin, err
}

// reaches that may be allowed without asking.
var reaches = map[string]doctor.Reach{"observe": doctor.Observe, "instant": doctor.Instant, "undoable": doctor.Undoable}

func (c *WatchConfig) alone() doctor.Reach {
	if r, ok := reaches[c.Auto]; ok {
		return r
	}
	return doctor.Instant
}

func (a *attendance) config() attend.Config {
	return attend.Config{
		Clock: a.clock, Log: a.log, Append: a.journal.Append,
		Evidence: func(since time.Time, s doctor.Symptom) *doctor.Evidence {
			e := a.look(since, s)
			a.mu.Lock()
			defer a.mu.Unlock()
			a.newest = e
			return e
		},
		Detect:   diagnose.Detect,
		Diagnose: func(e *doctor.Evidence) (*doctor.Answer, error) { return diagnose.Diagnose(e, a.causes...) },
		Keep:     a.keep, Cause: a.cause, Fallback: fallback, Money: a.money,
		Act: a.act, Resume: a.resume, Holds: a.holds, Looks: a.looks, Lift: a.lift, Prove: a.prove, Owned: a.owned,
	}
}

// fallback is what is right whatever the cause, once nobody can say what it is. It says
// nothing of whether money is safe: nobody knows that then.
var fallback = []doctor.Step{
	{
		ID: "say-so", Do: doctor.DoLever,
		With: map[string]string{
			"lever": string(lever.Banner), "aim": "everything", "for": "30m", "reason": "something is wrong, and no known cause explains it",
			"value":    "Some payments take longer than usual. Each one is followed until its result is certain. Please do not pay a second time.",
			"value_zh": "部分付款比平时慢。每一笔都会跟踪到结果确定为止。请勿重复支付。",
		},
		Why: doctor.Text{EN: "whatever the cause is, nobody should pay twice because of it", ZH: "无论原因为何,都不应有人因此重复支付"},
	},
	{
		ID: "tell-operators", Do: doctor.DoTell,
		With: map[string]string{
			"to": "operators",
			"en": "An invariant is broken and no cause of the catalogue explains it: `moneta diagnose` shows what is known, with the next checks.",
			"zh": "有不变量被破坏,而目录中没有原因可以解释:`moneta diagnose` 显示已知情况与下一步检查。",
		},
		Why: doctor.Text{EN: "the doctor does not know; people must look", ZH: "医生无法判断,需要人工查看"},
	},
}

// unfinished is the incident that is open in the journal, or nil.
func (a *attendance) unfinished() *doctor.Incident {
	all := a.journal.Incidents()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].ClosedAt == nil {
			return &all[i]
		}
	}
	return nil
}

// evidence is what was seen last: for the conditions of steps, and for who asks.
func (a *attendance) evidence() *doctor.Evidence {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.newest
}

// keep stores an evidence; --replay gives the same answer from it.
func (a *attendance) keep(incident string, n int, e *doctor.Evidence) (file, sum string, err error) {
	var b bytes.Buffer
	if err := e.Write(&b); err != nil {
		return "", "", err
	}
	file = filepath.Join(evidenceFolder, fmt.Sprintf("%s-%d.json", incident, n))
	sha := sha256.Sum256(b.Bytes())
	return file, hex.EncodeToString(sha[:]), writeFile(filepath.Join(a.folder, file), b.Bytes(), 0o600)
}

func (a *attendance) cause(h *doctor.Hypothesis) (doctor.Cause, bool) {
	id := h.Cause
	if id == "" {
		id = string(h.Kind) + "-" + h.Mechanism
	}
	return catalog.ByID(id)
}

// money is what waits now at the hops where something is wrong, and what of it nobody
// knows the outcome of, by asset.
func (a *attendance) money() doctor.MoneyAtRisk {
	m := doctor.MoneyAtRisk{Value: map[string]string{}}
	e := a.evidence()
	if e == nil {
		return m
	}
	ill, unknown := map[string]bool{}, 0
	for _, x := range a.it.Now().Alarms {
		ill[x.Hop] = ill[x.Hop] || x.Page
	}
	for i := range e.Readings {
		r := &e.Readings[i]
		switch {
		case r.Peer != "" || r.Presence(e.TakenAt) != doctor.Present && r.Presence(e.TakenAt) != doctor.New:
		case r.Signal == doctor.Waiting && (r.Statistic == "" && ill[r.Hop] || ill[r.Statistic] && !ill[r.Hop] && r.Hop != doctor.HopDecider):
			m.Items += int(r.Last) // a bank's payments wait at the stations before and behind it
		case r.Signal == doctor.Stuck || r.Signal == doctor.OverdueAge:
			m.OldestS = max(m.OldestS, r.Last)
		case r.Signal == doctor.UnknownValue && r.Statistic != "":
			v, _ := big.NewFloat(r.Last).Int(nil)
			m.Value[r.Statistic] = v.String()
		case r.Signal == doctor.UnknownItems:
			unknown += int(r.Last)
		}
	}
	// What is unknown waits also when its bank is held back and no hop is ill any more.
	m.Items = max(m.Items, unknown)
	return m
}

// act carries a plan out. What has an undo is held; all else is said, looked at or over.
func (a *attendance) act(ctx context.Context, p attend.Plan) (held bool, err error) {
	r, err := a.runner.Run(ctx, runbook.Request{
		Incident: p.Incident, Cause: p.Cause, Phase: runbook.Phase(p.Phase), Round: p.Round,
		Hop: p.Hypothesis.Node, Kind: p.Hypothesis.Kind, Steps: p.Steps, Detail: p.Hypothesis.Details, Who: "doctor",
	})
	return holds(&r), err
}

// signsTold is what the signs of a cause tell of a hop in the newest answer.
func (a *attendance) signsTold(cause, hop string) map[string]string {
	return toldBy(a.it.Now().Answer, cause, hop)
}

// toldBy is empty when the answer leads with another cause: an act rests on no guess that
// something else is likelier than.
func toldBy(answer *doctor.Answer, cause, hop string) map[string]string {
	if answer == nil || len(answer.Ranked) == 0 {
		return nil
	}
	if h := &answer.Ranked[0]; h.Cause == cause && h.Node == hop {
		return h.Details
	}
	return nil
}

// holds reports whether a run has done what has an undo, and did not take it back.
func holds(r *runbook.Result) bool {
	return slices.ContainsFunc(r.Steps, func(s runbook.StepResult) bool { return s.Became == runbook.Good && s.Change.Undo != nil })
}

// runs are those of an incident, as far as their files can be read.
func (a *attendance) runs(incident string) []runbook.Result {
	all, err := runbook.Runs(filepath.Join(a.folder, runsFolder))
	if err != nil {
		a.log.Error("the runs cannot be read", slog.Any("error", err))
	}
	return slices.DeleteFunc(all, func(r runbook.Result) bool { return r.Request.Incident != incident })
}

// holds reports whether something that contains the incident holds.
func (a *attendance) holds(incident string) bool {
	return slices.ContainsFunc(a.runs(incident), func(r runbook.Result) bool { return r.Request.Phase == runbook.Contain && holds(&r) })
}

// looks reports whether all runs of the incident that are under way only look, or wait
// for people: to break one of them off leaves nothing half done.
func (a *attendance) looks(incident string) bool {
	return !slices.ContainsFunc(a.runs(incident), func(r runbook.Result) bool {
		if r.Became != runbook.Pending {
			return false
		}
		at := slices.IndexFunc(r.Steps, func(s runbook.StepResult) bool {
			return slices.Contains([]runbook.Became{runbook.Pending, runbook.Tried, runbook.Waits, runbook.Acting, runbook.Done, runbook.Failed}, s.Became)
		})
		if at < 0 {
			return true // it is about to end
		}
		s := &r.Steps[at]
		looking := s.Act.Do == doctor.DoCheck || s.Act.Do == doctor.DoWait
		return s.Became != runbook.Waits && s.Became != runbook.Done && !looking && !s.Awaits()
	})
}

// resume goes on with the runs that a process before this one left in the middle.
func (a *attendance) resume(ctx context.Context, incident string) error {
	left, err := a.runner.Unfinished()
	if err != nil {
		return err
	}
	for _, q := range left {
		if q.Incident != incident {
			continue
		}
		if _, err := a.runner.Run(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

func (a *attendance) lift(ctx context.Context, incident string) error {
	return a.runner.Release(ctx, incident, letGoFor, func() error {
		for _, x := range a.it.Now().Alarms {
			if x.Page {
				return fmt.Errorf("%s at %s: %s", x.Rule, x.Hop, x.Says)
			}
		}
		return nil
	})
}

// tellOfAct is how the runner writes into the journal.
func (a *attendance) tellOfAct(incident, what, who string, data any) {
	raw, err := json.Marshal(data)
	if err != nil {
		a.log.Error("an act cannot be told", slog.String("what", what), slog.Any("error", err))
		return
	}
	if strings.HasPrefix(incident, "drain_") { // of the repair bench, which needs no incident
		incident = ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), tellWithin)
	defer cancel()
	if _, err := a.journal.Append(ctx, doctor.Entry{At: a.clock.Now().UTC(), Incident: incident, What: what, Who: who, Data: raw}); err != nil {
		a.log.Error("the journal does not take an act", slog.String("what", what), slog.Any("error", err))
	}
}

// tellPeople says something to holders, support, partners or operators: in the journal,
// from which their screens and briefs are made. Holders see it in the status of their
// payments when a banner is pulled, which is a step of its own.
func (a *attendance) tellPeople(ctx context.Context, act doctor.Act) error {
	text := doctor.Text{EN: act.With["en"], ZH: act.With["zh"]}
	if text.EN == "" {
		text.EN = act.Why
	}
	raw, err := json.Marshal(doctor.Told{To: act.With["to"], Text: text})
	if err != nil {
		return err
	}
	_, err = a.journal.Append(ctx, doctor.Entry{At: a.clock.Now().UTC(), Incident: act.Incident, What: doctor.EntryTold, Who: act.By, Data: raw})
	return err
}

// prove counts everything anew, signs it and keeps it.
func (a *attendance) prove(ctx context.Context, incident string, since time.Time) (doctor.ProofKept, error) {
	c := a.prover
	c.From = since.UTC().Format(time.RFC3339Nano)
	cfg, err := c.recount(ctx)
	if err != nil {
		return doctor.ProofKept{}, err
	}
	key, _, err := prove.Key(c.keyPath())
	if err != nil {
		return doctor.ProofKept{}, fmt.Errorf("the signing key: %w", err)
	}
	result, err := prove.Run(ctx, cfg)
	if err != nil {
		return doctor.ProofKept{}, err
	}
	proof, err := prove.Sign(result, key)
	if err != nil {
		return doctor.ProofKept{}, err
	}
	a.mu.Lock()
	a.proofs++
	file := filepath.Join(proofsFolder, fmt.Sprintf("%s-%s-%d.json", incident, a.clock.Now().UTC().Format("150405"), a.proofs))
	a.mu.Unlock()
	if err := writeFile(filepath.Join(a.folder, file), proof, 0o644); err != nil {
		return doctor.ProofKept{}, err
	}
	return a.told(file, &result), nil
}

// told sums a result up, and remembers which of its findings are somebody's.
func (a *attendance) told(file string, r *prove.Result) doctor.ProofKept {
	p := doctor.ProofKept{File: file, Clean: r.Verdict == prove.Clean}
	owners := map[string]string{}
	for i := range r.Findings {
		f := &r.Findings[i]
		what := fmt.Sprintf("%s %s %s: %s", f.Check, f.Payment, f.Place, f.Detail)
		if f.Break != "" {
			owners[what] = f.Break
		}
		p.Found = append(p.Found, what)
	}
	p.Found = append(p.Found, r.NotProved...)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.owners = owners
	return p
}

func (a *attendance) owned(_ context.Context, found []string) (map[string]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]string{}
	for _, f := range found {
		if o := a.owners[f]; o != "" {
			out[f] = o
		}
	}
	return out, nil
}

// agreed goes on with what waited for people; where it still waits it waits on.
func (a *attendance) agreed() {
	a.works.Go(func() {
		if err := a.runner.Resume(a.going); err != nil && a.going.Err() == nil {
			a.log.ErrorContext(a.going, "a run does not go on", slog.Any("error", err))
		}
	})
}

func (a *attendance) close(context.Context) error {
	a.end()
	a.works.Wait()
	return a.journal.Close()
}
