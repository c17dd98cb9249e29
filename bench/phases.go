package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/internal/lifecycle"
)

// settleCycle is how often serve reads the banks' statements. A round of whole cycles,
// behind another one, pays for as many settlements as it makes payouts; shorter ones
// paid for none or for those of two rounds.
const settleCycle = 10 * time.Second

// drainMax bounds the wait for the last payouts, and for the banks' callbacks.
const drainMax = 30 * time.Second

// address tells a plan where the wallet is, and makes its keys its own.
func (p *plane) address(plan *loadPlan) {
	plan.Address, plan.Key, plan.Asset, plan.Accounts = p.api, p.key, planeAsset, p.accounts
	plan.Prefix = fmt.Sprintf("bench-%d", p.loads)
}

// load generates one round, counts what was told, and keeps what went wrong.
func (p *plane) load(ctx context.Context, phase string, plan loadPlan) (loadResult, error) {
	p.address(&plan)
	res, err := p.generate(ctx, loadJob{HTTP: &plan}, plan.For)
	if err == nil {
		p.keep(phase, plan, res)
	}
	return res, err
}

// keep counts what callers were told, and keeps what went wrong.
func (p *plane) keep(phase string, plan loadPlan, res loadResult) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told.payments += res.Acked
	p.told.unanswered += res.Unanswered
	if len(plan.Channels) > 0 {
		p.payouts.payments += res.Acked
		p.payouts.unanswered += res.Unanswered
		p.payouts.open += res.Acked - res.Done
	}
	if n := res.Refused + res.Unanswered + res.Acked - res.Done; n > 0 && !plan.Surge {
		p.report.Unserved = append(p.report.Unserved, fmt.Sprintf("%s: %d refused, %d without an answer, %d not succeeded in %d s; the first: %s",
			phase, res.Refused, res.Unanswered, res.Acked-res.Done, lifeWait, res.Error))
	}
}

// round measures one round, after a warm-up where it is the first of its kind.
func (p *plane) round(ctx context.Context, phase string, n int, plan loadPlan) error {
	if n == 0 {
		warm := plan
		warm.For = warmUp
		if len(plan.Channels) > 0 && plan.For >= settleCycle {
			warm.For = settleCycle // until statements settle what payouts did
		}
		if _, err := p.load(ctx, phase, warm); err != nil {
			return err
		}
	}
	if err := p.quiet(ctx); err != nil {
		return err
	}
	m, err := p.newMeter(ctx, p.name)
	if err != nil {
		return err
	}
	defer m.close(ctx)
	var res loadResult
	before, after, err := m.around(ctx, func() (err error) {
		res, err = p.load(ctx, phase, plan)
		return err
	})
	if err != nil {
		return err
	}
	done, latency := res.Done, res.Latency
	if len(plan.Channels) > 0 {
		if done, latency, err = finished(ctx, m.conn, res.Began, res.Elapsed); err != nil {
			return err
		}
	}
	round := newRound(before, after, done, res.Elapsed)
	round.Latency = &latency
	p.note(phase, n, round)
	return nil
}

// finishedSQL finds the payouts that were accepted and succeeded between two
// moments, and how long each took.
const finishedSQL = `
with life as (
  select extract(epoch from done.at - made.at)::float8 * 1000 as ms
    from facts.transitions made join facts.transitions done using (payment)
   where made.from_state = 'none' and made.to_state <> 'succeeded' and made.at >= $1
     and done.from_state <> 'succeeded' and done.to_state = 'succeeded' and done.at < $2)
select count(*), coalesce(percentile_disc(array[0.5, 0.9, 0.99, 1.0]) within group (order by ms), array[0, 0, 0, 0]) from life`

// finished counts the payouts whose whole life lies within the round: from its
// begin to its end nothing from before and nothing from after is counted in.
func finished(ctx context.Context, conn *pgx.Conn, began time.Time, took time.Duration) (n int64, l Latency, err error) {
	var ms []float64
	if err := conn.QueryRow(ctx, finishedSQL, began, began.Add(took)).Scan(&n, &ms); err != nil {
		return 0, l, fmt.Errorf("count what succeeded: %w", err)
	}
	if len(ms) == 4 {
		l = Latency{P50: rounded(ms[0]), P90: rounded(ms[1]), P99: rounded(ms[2]), Max: rounded(ms[3])}
	}
	return n, l, nil
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
	if err := p.settleLog(ctx); err != nil {
		return err
	}
	for n := range p.profile.rounds {
		plan := loadPlan{Connections: planeConnections, Batch: 1, Rate: *peak / 2, For: p.profile.latency}
		if err := p.round(ctx, PhaseLatency, n, plan); err != nil {
			return err
		}
	}
	return p.check(ctx, "latency", false)
}

// settleLog brings the fresh cluster to where one stands that has run for a while:
// after its first checkpoint the log's files are used again, and a commit need not
// wait for a new one to be filled with zeros.
func (p *plane) settleLog(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.dsn)
	if err != nil {
		return fmt.Errorf("connect for a checkpoint: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "checkpoint"); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// lifecycle measures payouts from their acceptance to their success: sent to a
// bank over HTTP, called back by it.
func (p *plane) lifecycle(ctx context.Context) error {
	plan := loadPlan{Connections: lifeConnections, Batch: lifeBatch, Wait: lifeWait, For: p.profile.life, Channels: lifeChannels()}
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
		if open == 0 || lifecycle.Pause(ctx, poll) != nil {
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
	if executed < p.payouts.payments-p.payouts.open || executed > p.payouts.payments+p.payouts.unanswered {
		p.report.Faults = append(p.report.Faults, fmt.Sprintf("lifecycle: the banks executed %d payouts, callers were told of %d", executed, p.payouts.payments))
	}
}
