package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor"
)

// The times of a run. The fault comes about ten seconds in and is healed thirty-five
// seconds in at the latest; what the doctor has done by then stands.
const (
	faultAfter  = 9 * time.Second
	faultLeast  = 10 * time.Second
	faultMax    = 25 * time.Second
	faultBlind  = 12 * time.Second
	healedMost  = 30 * time.Second // from the heal to the proof
	calmWithin  = 20 * time.Second // for the trouble of the run before to end
	lookEvery   = 250 * time.Millisecond
	settleAfter = 2 * time.Second // orders that began so long after the heal are to be well
	warmUp      = 6 * time.Second
	// paymentsMost is how many payments a world may hold before it is made anew: a
	// recount reads them all.
	paymentsMost = 90_000
	// oldPayments are in the history of an old world.
	oldPayments = 50_000
)

// Config is what a series of runs needs.
type Config struct {
	Make Maker
	// Seeds of each drill.
	Seeds []uint64
	// Rate of the load, orders a second.
	Rate float64
	// Within bounds the series, from when its first world stands; what did not fit is not run.
	Within time.Duration
	// Evidence is the folder that keeps the evidence of each run; empty keeps none.
	Evidence string
	// Guess asks the baselines; nil asks none.
	Guess func(e *doctor.Evidence) map[string][]Pair
	// Done is told of each row as it is known.
	Done func(Row) error
	// Skip are the runs that are done already.
	Skip func(drill string, seed uint64) bool
	// Say tells people where it is.
	Say func(format string, args ...any)
}

// Run runs the drills, seed by seed, and reuses worlds as far as it can.
func Run(ctx context.Context, cfg Config, drills []*Drill) error {
	s := &stage{cfg: cfg, began: time.Now()}
	defer s.close()
	for _, seed := range cfg.Seeds {
		for _, d := range byWorld(drills) {
			if cfg.Skip != nil && cfg.Skip(d.Name, seed) {
				continue
			}
			if cfg.Within > 0 && time.Since(s.began) > cfg.Within {
				cfg.Say("the time is over: what is left is not run; --resume goes on")
				return nil
			}
			row := s.one(ctx, d, seed)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := cfg.Done(row); err != nil {
				return err
			}
		}
	}
	return nil
}

// byWorld puts drills of one kind of world together: making one takes seconds.
func byWorld(drills []*Drill) []*Drill {
	out := slices.Clone(drills)
	slices.SortStableFunc(out, func(a, b *Drill) int { return slices.Index(worlds, a.World) - slices.Index(worlds, b.World) })
	return out
}

var worlds = []Variant{Plain, Wired, Old, Small}

// stage holds the world of now and its traffic.
type stage struct {
	cfg   Config
	world *World
	load  *Load
	// began is when the first world stood, or the series was asked for while none does.
	began time.Time
	stood bool
}

func (s *stage) close() {
	if s.load != nil {
		s.load.Stop()
	}
	if s.world != nil {
		s.world.Close()
	}
	s.world, s.load = nil, nil
}

// one runs one drill and never fails: a failure of the harness is a row too.
func (s *stage) one(ctx context.Context, d *Drill, seed uint64) Row {
	row := Row{Drill: d.Name, Class: d.Class, Seed: seed, At: time.Now(), Control: d.Control(), Status: Broken}
	if need := missing(d.Needs); need != "" {
		row.Status, row.Why = Skipped, "needs "+need
		return row
	}
	err := s.ready(ctx, d.World, seed)
	if err == nil {
		err = s.play(ctx, d, seed, &row)
	}
	row.TookS = time.Since(row.At).Seconds()
	if err != nil {
		row.Status, row.Why = Broken, err.Error()
		s.close() // nothing of it is to be trusted
	}
	return row
}

// ready has a world of the kind, calm, with traffic.
func (s *stage) ready(ctx context.Context, kind Variant, seed uint64) error {
	if s.world != nil && (s.world.Kind != kind || !s.world.ready(ctx) || s.payments(ctx) > paymentsMost || len(s.held(ctx)) > 0) {
		s.close()
	}
	if s.world != nil {
		if err := s.calm(ctx); err == nil {
			return nil
		}
		s.close()
	}
	s.cfg.Say("making a world (%s)", kind)
	var err error
	if s.world, err = s.cfg.Make(ctx, kind); err != nil {
		s.world = nil
		return fmt.Errorf("make the world: %w", err)
	}
	if !s.stood {
		s.began, s.stood = time.Now(), true
	}
	if s.load, err = startLoad(ctx, s.world, seed, s.cfg.Rate); err != nil {
		s.load = nil
		return err
	}
	if kind == Old {
		if err := s.load.age(ctx, oldPayments); err != nil {
			return fmt.Errorf("make a history: %w", err)
		}
	}
	return pause(ctx, warmUp)
}

// calm waits for the end of what the run before left: incidents that are open.
func (s *stage) calm(ctx context.Context) error {
	if s.world.Watch == nil {
		return nil
	}
	until := time.Now().Add(calmWithin)
	for {
		open, err := s.world.Watch.open(ctx)
		if err == nil && len(open) == 0 {
			return nil
		}
		if time.Now().After(until) {
			s.cfg.Say("the doctor does not close its incidents: it begins anew")
			if err := s.world.RestartWatch(ctx); err != nil {
				return err
			}
			if err := pause(ctx, warmUp); err != nil {
				return err
			}
			return s.world.Watch.Await(ctx)
		}
		if err := pause(ctx, lookEvery); err != nil {
			return err
		}
	}
}

func (s *stage) payments(ctx context.Context) (n int64) {
	conn, err := pgx.Connect(ctx, s.world.DSN)
	if err != nil {
		return paymentsMost + 1
	}
	defer func() { _ = conn.Close(ctx) }()
	if conn.QueryRow(ctx, `select last_payment from shards where id = 0`).Scan(&n) != nil {
		return paymentsMost + 1
	}
	return n
}

// held are the levers that hold now: who is well again has let them all go.
func (s *stage) held(ctx context.Context) []string {
	conn, err := pgx.Connect(ctx, s.world.DSN)
	if err != nil {
		return []string{err.Error()}
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `select lever || ' ' || aim from facts.levers where undone_at is null and expires_at > now() order by 1`)
	if err != nil {
		return []string{err.Error()}
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return []string{err.Error()}
	}
	return all
}

func (w *World) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.API+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// play is one run: calm, distraction, fault, heal, proof, judgement.
func (s *stage) play(ctx context.Context, d *Drill, seed uint64, row *Row) error {
	dice := rand.New(rand.NewPCG(seed, hash(d.Name))) //nolint:gosec // dice, not secrets
	sc := &Scene{World: s.world, Load: s.load, Dice: dice, Values: map[string]string{}}
	rec := &record{drill: d, values: sc.Values}
	began := time.Now()
	after, err := s.last(ctx)
	if err != nil {
		return err
	}
	if err := s.steady(dice); err != nil {
		return err
	}
	quiet, err := distract(ctx, sc)
	if err != nil {
		return fmt.Errorf("distract: %w", err)
	}
	defer func() { _ = quiet(context.WithoutCancel(ctx)) }()
	if d.Before != nil {
		stop, err := d.Before(ctx, sc)
		if err != nil {
			return fmt.Errorf("before the fault: %w", err)
		}
		defer func() { _ = stop(context.WithoutCancel(ctx)) }()
	}
	if err := pause(ctx, max(d.After, faultAfter)+time.Duration(dice.Int64N(int64(2*time.Second)))); err != nil {
		return err
	}
	s.cfg.Say("%s, seed %d: the fault begins", d.Name, seed)
	rec.fault = time.Now()
	heal, err := d.Inject(ctx, sc)
	if err != nil {
		return fmt.Errorf("inject: %w", err)
	}
	healed := false
	defer func() {
		if !healed {
			_ = heal(context.WithoutCancel(ctx)) // we are leaving with an error already
		}
	}()
	if err := s.await(ctx, rec, after, s.lasts(d)); err != nil {
		return err
	}
	measured := time.Now()
	healing, cancel := context.WithTimeout(ctx, healWithin)
	err = heal(healing)
	cancel()
	healed = true
	if err != nil {
		return fmt.Errorf("heal: %w", err)
	}
	rec.heal = measured.Add(d.Lingers)
	s.cfg.Say("%s, seed %d: healed after %.0f s", d.Name, seed, measured.Sub(rec.fault).Seconds())
	before := s.load.between(began, rec.fault.Add(-endLate))
	if err := s.recover(ctx, rec, after); err != nil {
		return err
	}
	row.Impact = impactOf(before, s.load.between(rec.fault, measured), time.Now(), d.Only)
	row.Impact.UnwellS, row.Impact.AfterShare = s.unwell(rec.heal)
	if err := s.count(ctx, began, row); err != nil {
		return err
	}
	row.Left = s.held(ctx)
	s.keep(rec, row)
	judge(rec, row)
	if row.Status = Scored; s.world.Watch == nil {
		row.Status, row.Why = Blind, fmt.Sprintf("%.0f %% of %d orders hurt, %.0f %% before, %.0f %% after, for %.1f s; the money is %s",
			100*row.Impact.Share, row.Impact.During, 100*row.Impact.BeforeShare, 100*row.Impact.AfterShare, row.Impact.UnwellS, row.Recount.Verdict)
	}
	if !d.Control() && !row.Impact.real(d.Least) {
		row.Status, row.Why = Void, fmt.Sprintf("users were not hurt: %.0f %% of %d orders, %.0f %% before", 100*row.Impact.Share, row.Impact.During, 100*row.Impact.BeforeShare)
	}
	s.load.forget(time.Now().Add(-2 * time.Minute))
	return nil
}

// lasts is how long the fault stands at most. With nobody watching, it is only to be
// seen whom it hurts.
func (s *stage) lasts(d *Drill) time.Duration {
	if s.world.Watch == nil {
		return max(d.Lasts, faultBlind)
	}
	return max(d.Lasts, faultMax)
}

// hash makes the dice of each drill its own.
func hash(text string) (h uint64) {
	for _, c := range []byte(text) {
		h = h*31 + uint64(c)
	}
	return h
}

// steady brings the clients and the banks back to good manners.
func (s *stage) steady(dice *rand.Rand) error {
	s.load.Behave(Manners{})
	s.load.pace(s.cfg.Rate * (0.9 + 0.2*dice.Float64()))
	if s.world.Faults == "" {
		return nil
	}
	return s.world.faults(nil)
}

// last is the number of the newest entry in the doctor's journal.
func (s *stage) last(ctx context.Context) (uint64, error) {
	if s.world.Watch == nil {
		return 0, nil
	}
	all, err := s.world.Watch.journal(ctx, 0)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[len(all)-1].Seq, nil
}

// await lets the fault stand until the doctor has done what it can, at most as long as
// it may last.
func (s *stage) await(ctx context.Context, rec *record, after uint64, most time.Duration) error {
	for {
		stood := time.Since(rec.fault)
		if stood >= most {
			return nil
		}
		rec.heal = time.Now()
		if s.look(ctx, rec, after) == nil && stood >= faultLeast && !rec.drill.Whole && rec.finished() {
			return nil
		}
		if err := pause(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// look reads the journal; a doctor that does not answer is looked for again.
func (s *stage) look(ctx context.Context, rec *record, after uint64) error {
	if s.world.Watch == nil {
		return errors.New("nobody watches")
	}
	entries, err := s.world.Watch.journal(ctx, after)
	if err == nil {
		rec.entries = entries
	}
	return err
}

// finished reports whether nothing more can be gained while the fault stands.
func (r *record) finished() bool {
	if r.drill.Control() {
		return false
	}
	var row Row
	row.Parts = map[string]int{}
	r.detection(&row)
	r.answer(&row)
	r.containment(&row)
	r.repair(&row)
	repaired := row.RepairS != nil || r.drill.Truth.Outside
	return row.Top1 && row.Scope && row.Parts["contain"] > 0 && repaired
}

// recover waits until the holders are well again and the doctor has its proof, or until
// the time for that is over.
func (s *stage) recover(ctx context.Context, rec *record, after uint64) error {
	for until := rec.heal.Add(healedMost); time.Now().Before(until); {
		_ = s.look(ctx, rec, after) // a doctor that does not answer is looked for again
		proved := s.world.Watch == nil || rec.drill.Control() || rec.proved()
		if proved && s.well(rec.heal) {
			return nil
		}
		if err := pause(ctx, lookEvery); err != nil {
			return err
		}
	}
	return nil
}

// proved reports whether the doctor has its clean proof.
func (r *record) proved() bool {
	var row Row
	row.Parts = map[string]int{}
	r.proof(&row)
	return row.ProofS != nil
}

// well reports whether nobody was hurt among the orders of two seconds, as soon as it
// can be told, after the heal.
func (s *stage) well(heal time.Time) bool {
	now := time.Now()
	from := now.Add(-2*endLate - settleAfter)
	if from.Before(heal) {
		return false
	}
	_, hurt, _ := share(s.load.between(from, from.Add(settleAfter)), now, nil)
	return hurt == 0
}

// unwell is how long after the heal orders were still hurt, and their share since.
func (s *stage) unwell(heal time.Time) (seconds, part float64) {
	now := time.Now()
	orders := s.load.between(heal.Add(settleAfter), now.Add(-2*endLate))
	for i := range orders {
		if o := &orders[i]; o.hurt(now) {
			seconds = max(seconds, o.Began.Sub(heal).Seconds())
		}
	}
	_, _, part = share(orders, now, nil)
	return round(seconds), part
}

// count proves the money: by the recount, and by what clients were told.
func (s *stage) count(ctx context.Context, began time.Time, row *Row) error {
	var err error
	if row.Recount, err = s.world.Recount(ctx); err != nil {
		return fmt.Errorf("recount: %w", err)
	}
	row.Invariants = append(row.Invariants, row.Recount.Faults...)
	if row.Recount.Verdict != "clean" {
		row.Notes = append(row.Notes, row.Recount.Unproved...)
	}
	var names []string
	for _, o := range s.load.between(began, time.Now()) {
		if o.Kind != "read" && !o.Acked.IsZero() {
			names = append(names, o.Name)
		}
	}
	conn, err := pgx.Connect(ctx, s.world.DSN)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var known, doubled int
	err = conn.QueryRow(ctx, `select count(distinct remittance), count(*) - count(distinct remittance) from payments where remittance = any($1)`, names).Scan(&known, &doubled)
	if err != nil {
		return err
	}
	if lost := len(names) - known; lost > 0 {
		row.Invariants = append(row.Invariants, fmt.Sprintf("%d payments were acknowledged and are not there", lost))
	}
	if doubled > 0 {
		row.Invariants = append(row.Invariants, fmt.Sprintf("%d payments were made twice under one key", doubled))
	}
	return nil
}

// keepJournal writes what the doctor told of the run beside its evidence: why it scored
// as it did can be read there.
func (s *stage) keepJournal(rec *record, row *Row) {
	if s.cfg.Evidence == "" || len(rec.entries) == 0 {
		return
	}
	var lines bytes.Buffer
	out := json.NewEncoder(&lines)
	for i := range rec.entries {
		if err := out.Encode(&rec.entries[i]); err != nil {
			row.Notes = append(row.Notes, "the journal is not kept: "+err.Error())
			return
		}
	}
	to := filepath.Join(s.cfg.Evidence, fmt.Sprintf("%s-%d.journal.jsonl", row.Drill, row.Seed))
	if err := os.WriteFile(to, lines.Bytes(), 0o600); err != nil {
		row.Notes = append(row.Notes, "the journal is not kept: "+err.Error())
		return
	}
	row.Journal = to
}

// keep copies the newest evidence of the run, and asks the baselines about it.
func (s *stage) keep(rec *record, row *Row) {
	if len(rec.entries) > 0 {
		row.Entries = [2]uint64{rec.entries[0].Seq, rec.entries[len(rec.entries)-1].Seq}
	}
	s.keepJournal(rec, row)
	var file string
	for i := range rec.entries {
		e := &rec.entries[i]
		var kept doctor.EvidenceKept
		if e.What == doctor.EntryEvidence && !e.At.Before(rec.fault) && !e.At.After(rec.heal) && json.Unmarshal(e.Data, &kept) == nil {
			file = kept.File
		}
	}
	if file == "" {
		return
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(s.world.Folder, "doctor", file)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		row.Notes = append(row.Notes, "the evidence cannot be read: "+err.Error())
		return
	}
	if s.cfg.Evidence != "" {
		to := filepath.Join(s.cfg.Evidence, fmt.Sprintf("%s-%d.json", row.Drill, row.Seed))
		if err := os.WriteFile(to, raw, 0o600); err == nil { //nolint:gosec // a drill's own name
			row.Evidence = to
		}
	}
	row.Baselines = rec.baselines(raw, s.cfg.Guess)
}
