package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
)

// drainMax bounds the wait for the last payouts, and for the banks' callbacks.
const drainMax = 30 * time.Second

// generate runs the load generator as a process of its own.
func (p *plane) generate(ctx context.Context, plan loadPlan) (loadResult, error) {
	p.loads++
	plan.Address, plan.Key, plan.Asset, plan.Accounts = p.api, p.key, planeAsset, p.accounts
	plan.Prefix = fmt.Sprintf("bench-%d", p.loads)
	var res loadResult
	raw, err := json.Marshal(plan)
	if err != nil {
		return res, err
	}
	path := filepath.Join(p.dir, fmt.Sprintf("load-%d.json", p.loads))
	if err := os.WriteFile(path, raw, 0o600); err != nil { // it holds a key
		return res, err
	}
	ctx, cancel := context.WithTimeout(ctx, plan.For+2*answerMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.cfg.Moneta, "bench-load", path) //nolint:gosec // the binary that we are
	out, err := cmd.Output()
	if err != nil {
		return res, fmt.Errorf("load generator: %w: %s", err, stderrOf(err))
	}
	if err := json.Unmarshal(out, &res); err != nil {
		return res, fmt.Errorf("load generator: %w", err)
	}
	return res, nil
}

// load generates one round, counts what was told, and keeps what went wrong.
func (p *plane) load(ctx context.Context, phase string, plan loadPlan) (loadResult, error) {
	res, err := p.generate(ctx, plan)
	if err != nil {
		return res, err
	}
	p.told.payments += res.Acked
	p.told.unanswered += res.Unanswered
	if len(plan.Channels) > 0 {
		p.payouts.payments += res.Acked
		p.payouts.unanswered += res.Unanswered
	}
	if n := res.Refused + res.Unanswered + res.Acked - res.Done; n > 0 {
		p.report.Faults = append(p.report.Faults, fmt.Sprintf("%s: %d refused, %d without an answer, %d not succeeded in %d s; the first: %s",
			phase, res.Refused, res.Unanswered, res.Acked-res.Done, lifeWait, res.Error))
	}
	return res, nil
}

// round measures one round, after a warm-up where it is the first of its kind.
func (p *plane) round(ctx context.Context, phase string, n int, plan loadPlan) error {
	if n == 0 {
		warm := plan
		warm.For = warmUp
		if _, err := p.load(ctx, phase, warm); err != nil {
			return err
		}
	}
	m, err := p.newMeter(ctx, planeDB)
	if err != nil {
		return err
	}
	defer m.close(ctx)
	var res loadResult
	round, err := m.measure(ctx, func() (int64, time.Duration, error) {
		res, err = p.load(ctx, phase, plan)
		return res.Done, res.Elapsed, err
	})
	if err != nil {
		return err
	}
	round.Latency = &res.Latency
	p.note(phase, n, round)
	return nil
}

// throughput measures single requests and batches in turn.
func (p *plane) throughput(ctx context.Context) error {
	for n := range p.profile.rounds {
		if err := p.round(ctx, PhaseSingle, n, loadPlan{Connections: planeConnections, Batch: 1, For: p.profile.single}); err != nil {
			return err
		}
		if err := p.round(ctx, PhaseBatch, n, loadPlan{Connections: planeConnections / 4, Batch: planeBatch, For: p.profile.batch}); err != nil {
			return err
		}
	}
	return p.check(ctx, "api", false)
}

// latency measures single requests at half of their peak, on a schedule.
func (p *plane) latency(ctx context.Context) error {
	peak := p.report.medianOf(PhaseSingle, perS)
	if peak == nil || *peak == 0 {
		return errors.New("no peak of single requests was measured")
	}
	p.report.AcceptRate = rounded(*peak / 2)
	for n := range p.profile.rounds {
		plan := loadPlan{Connections: planeConnections, Batch: 1, Rate: *peak / 2, For: p.profile.latency}
		if err := p.round(ctx, PhaseLatency, n, plan); err != nil {
			return err
		}
	}
	return p.check(ctx, "latency", false)
}

// lifecycle measures payouts from their request to the answer that they have
// succeeded: sent to a bank over HTTP, called back by it.
func (p *plane) lifecycle(ctx context.Context) error {
	plan := loadPlan{Connections: lifeOpen, Batch: 1, Wait: lifeWait, For: p.profile.life}
	for _, bank := range lifeBanks {
		plan.Channels = append(plan.Channels, "bank-"+bank)
	}
	for n := range p.profile.rounds {
		if err := p.round(ctx, PhaseLifecycle, n, plan); err != nil {
			return err
		}
	}
	if err := p.drain(ctx); err != nil {
		return err
	}
	if err := p.outsideBooks(ctx); err != nil {
		return err
	}
	return p.check(ctx, "lifecycle", true)
}

// check recounts after a phase; the last one counts the whole run.
func (p *plane) check(ctx context.Context, phase string, last bool) error {
	p.say("recounting")
	wrong, err := recount(ctx, p.dsn, phase, p.told)
	p.report.Faults = append(p.report.Faults, wrong...)
	if last {
		p.report.Recounted += p.told.payments
	}
	return err
}

// drain waits until no payment is open, for as long as that may take; what is
// open then is the recount's to say.
func (p *plane) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainMax)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for {
		var open int64
		if err := conn.QueryRow(ctx, `select count(*) from facts.open_items`).Scan(&open); err != nil {
			return fmt.Errorf("count open payments: %w", err)
		}
		if open == 0 || pause(ctx, poll) != nil {
			return nil
		}
	}
}

// outsideBooks compares the banks' own books with what callers were told: each
// payout executed once, and nothing else.
func (p *plane) outsideBooks(ctx context.Context) error {
	seen := map[string]int{}
	w := newWire(p.outside, "")
	defer w.close()
	for _, bank := range lifeBanks {
		for after, more := int64(0), true; more; {
			status, answer, err := w.request(ctx, "GET", fmt.Sprintf("/banks/%s/books?after=%d&limit=5000", bank, after), "", nil)
			var page struct {
				Effects []struct {
					Seq       int64  `json:"seq"`
					Reference string `json:"reference"`
				} `json:"effects"`
				HasMore bool `json:"has_more"`
			}
			if err == nil && status == 200 {
				err = json.Unmarshal(answer, &page)
			}
			if err != nil || status != 200 {
				return fmt.Errorf("books of bank %s: %d %.300s %w", bank, status, answer, err)
			}
			for _, e := range page.Effects {
				seen[e.Reference]++
				after = e.Seq
			}
			more = page.HasMore && len(page.Effects) > 0
		}
	}
	p.judgeOutside(seen)
	return nil
}

func (p *plane) judgeOutside(seen map[string]int) {
	var doubled int64
	for _, n := range seen {
		if n > 1 {
			doubled++
		}
	}
	executed := int64(len(seen))
	if doubled > 0 {
		p.report.Faults = append(p.report.Faults, fmt.Sprintf("lifecycle: the banks executed %d payouts more than once", doubled))
	}
	if executed < p.payouts.payments || executed > p.payouts.payments+p.payouts.unanswered {
		p.report.Faults = append(p.report.Faults, fmt.Sprintf("lifecycle: the banks executed %d payouts, callers were told of %d", executed, p.payouts.payments))
	}
}
