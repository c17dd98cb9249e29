package desk

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/status"
)

// Place is who gets a kind of case first, and for how long.
type Place struct {
	// Owner is a team or an operator's name.
	Owner string
	// Within is how long the owner has.
	Within time.Duration
}

// Defaults of Config. The times are presets to edit: no rail and no regulator
// asks for them.
const (
	DefaultEscalateTo = "duty-manager"
	DefaultSweepEvery = 10 * time.Second
)

// Places are the defaults of Config.Places.
func Places() map[Kind]Place {
	return map[Kind]Place{
		Overdue:        {"operations", 4 * time.Hour},
		UnknownTooLong: {"operations", 4 * time.Hour},
		Orphan:         {"engineering", time.Hour},
		Review:         {"risk", 30 * time.Minute}, // life cycle §6.2
		Unplaced:       {"finance", 24 * time.Hour},
		Debt:           {"finance", 72 * time.Hour},
		Poison:         {"engineering", time.Hour},
		Contradiction:  {"finance", 4 * time.Hour},
		Mismatch:       {"finance", 24 * time.Hour},
		Break:          {"finance", 24 * time.Hour},
		Appeal:         {"support", 4 * time.Hour},
	}
}

// Config is what a Desk needs.
type Config struct {
	// Pool of the primary, in the role of the pay plane.
	Pool *pgxpool.Pool
	// Places override those of Places, kind by kind.
	Places map[Kind]Place
	// EscalateTo owns what is past its deadline; empty means DefaultEscalateTo.
	EscalateTo string
	// Bounds is how long after sending each channel promises a final answer.
	Bounds map[string]time.Duration
	// SweepEvery is how often durable rows are looked through; 0 is the default.
	SweepEvery time.Duration
	// UrgentFrom is from which amount on an appeal goes ahead of others, by asset.
	UrgentFrom map[money.Asset]money.Amount
	// Unsound returns why the time is not to be trusted: meanwhile nothing becomes a
	// case, and nobody is late, because of it. Nil trusts it always.
	Unsound func() error
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
	// Telemetry takes logs and metrics; required.
	Telemetry *telemetry.Telemetry
}

// Desk keeps the cases. Its methods are safe for concurrent use, on every node.
type Desk struct {
	cfg    Config
	places map[Kind]Place
	log    *slog.Logger

	mu     sync.Mutex
	looked Cursor // how far the sweep has looked for cases that are over

	appeals prometheus.Counter
	born    *prometheus.CounterVec
	open    *prometheus.GaugeVec
	overdue *prometheus.GaugeVec
}

// New returns a desk that sweeps nothing before Run.
func New(cfg Config) *Desk {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Unsound == nil {
		cfg.Unsound = func() error { return nil }
	}
	if cfg.EscalateTo == "" {
		cfg.EscalateTo = DefaultEscalateTo
	}
	if cfg.SweepEvery <= 0 {
		cfg.SweepEvery = DefaultSweepEvery
	}
	d := &Desk{cfg: cfg, places: Places(), log: cfg.Telemetry.Logger().With(slog.String("station", "desk"))}
	for kind, place := range cfg.Places {
		d.places[kind] = place
	}
	t := cfg.Telemetry
	d.appeals = t.Counter("moneta_appeals_total", "Appeals by holders, each key once.")
	d.born = t.CounterVec("moneta_cases_opened_total", "Cases opened, by kind.", "kind")
	d.open = t.GaugeVec("moneta_cases_open", "Cases that are not closed, by kind.", "kind")
	d.overdue = t.GaugeVec("moneta_cases_overdue", "Open cases past their deadline, by owner.", "owner")
	return d
}

// Team is who cases of the kind go to at first; what a holder is told.
func (d *Desk) Team(kind Kind) string { return d.places[kind].Owner }

// timed reports whether anything may depend on what time it is.
func (d *Desk) timed() bool { return d.cfg.Unsound() == nil }

func (d *Desk) now() time.Time { return d.cfg.Clock.Now().UTC().Truncate(time.Microsecond) }

// opening is a case to be opened, or to be told of again.
type opening struct {
	tenant  pay.TenantID
	payment pay.ID
	kind    Kind
	finding Finding
	by      string
	// text of the first note.
	text string
	// place overrides that of the kind where it is not zero.
	place Place
}

// placeOf is who gets o's case, and for how long.
func (d *Desk) placeOf(o *opening) Place {
	place := d.places[o.kind]
	if o.place.Owner != "" {
		place.Owner = o.place.Owner
	}
	if o.place.Within != 0 {
		place.Within = min(place.Within, o.place.Within)
	}
	return place
}

// One case a payment and kind: of two that open it at once, one waits for the
// other and finds its case.
const insertCase = `insert into cases (tenant, payment, kind, owner, finding, opened_at, deadline)
  values ($1, nullif($2, 0), $3, $4, $5, $6, $7)
  on conflict (payment, kind) where state <> 'closed' and payment is not null do nothing
  returning id`

const findOpen = `select id from cases where payment = $1 and kind = $2 and state <> 'closed' for update`

// openIn opens o's case in tx, or finds the open one. born reports which.
func (d *Desk) openIn(ctx context.Context, tx pgx.Tx, o *opening, now time.Time) (id int64, born bool, err error) {
	finding, err := json.Marshal(&o.finding)
	if err != nil {
		return 0, false, fmt.Errorf("write the finding: %w", err)
	}
	place := d.placeOf(o)
	for range 3 { // the open one may be closed between the two statements
		err = tx.QueryRow(ctx, insertCase, int32(o.tenant), int64(o.payment), string(o.kind), place.Owner, string(finding), now, now.Add(place.Within)).Scan(&id)
		if err == nil {
			return id, true, note(ctx, tx, id, now, Note{By: o.by, Action: opened, Text: o.text})
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return 0, false, fmt.Errorf("open a case: %w", err)
		}
		if err = tx.QueryRow(ctx, findOpen, int64(o.payment), string(o.kind)).Scan(&id); err == nil {
			return id, false, nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return 0, false, fmt.Errorf("find the open case: %w", err)
		}
	}
	return 0, false, errors.New("the case is opened and closed by others again and again")
}

const insertNote = `insert into case_notes (case_id, at, "by", action, text, to_holder, url, sha256) values ($1, $2, $3, $4, $5, $6, $7, nullif(decode($8, 'hex'), ''))`

func note(ctx context.Context, tx pgx.Tx, id int64, at time.Time, n Note) error {
	_, err := tx.Exec(ctx, insertNote, id, at, n.By, n.Action, n.Text, n.ToHolder, n.URL, n.SHA256)
	if err != nil {
		return fmt.Errorf("note on a case: %w", err)
	}
	return nil
}

// told logs and counts a new case, after COMMIT.
func (d *Desk) told(ctx context.Context, id int64, o *opening, now time.Time) {
	d.born.WithLabelValues(string(o.kind)).Inc()
	attrs := []slog.Attr{
		slog.String("case", Number{now.Year(), id}.String()), slog.String("kind", string(o.kind)),
		slog.String("owner", d.placeOf(o).Owner), slog.String("state", o.finding.State), slog.String("hop", o.finding.Hop),
	}
	if o.payment != 0 {
		attrs = append(attrs, slog.String("payment", o.payment.String()))
	}
	d.log.LogAttrs(ctx, slog.LevelWarn, "a case is open: a person must look", attrs...)
}

// AppealRequest is a holder's wish for a person. The caller has checked that the
// payment is the tenant's.
type AppealRequest struct {
	Tenant  pay.TenantID
	Payment pay.Payment
	// Key is the bare idempotency key.
	Key string
	// Text is what the holder says; may be empty. Characters up to TextMax.
	Text string
	// Client is what the device says of itself.
	Client map[string]string
	// Told is the status of now, in each language: what the holder's screen shows.
	Told []status.Status
	By   string
}

// Appealed is the answer to an appeal.
type Appealed struct {
	Case
	// Replayed: the key was used before with the same payload.
	Replayed bool
	// Again: an appeal on this payment was open already.
	Again bool
}

// errReplay ends a transaction whose key somebody else has used meanwhile.
var errReplay = errors.New("the key was used meanwhile")

// Appeal opens a case, or finds the open one of the payment; it answers when that
// is durable. Errors are *fault.Error: fault.IdempotencyKeyReused,
// fault.DatabaseUnavailable.
func (d *Desk) Appeal(ctx context.Context, r *AppealRequest) (Appealed, error) {
	const op = "desk.Appeal"
	key, print := sha256.Sum256([]byte(r.Key)), r.fingerprint()
	for range 2 {
		id, used, err := d.used(ctx, r.Tenant, key[:], print)
		if err != nil {
			return Appealed{}, err
		}
		if used {
			c, err := d.read(ctx, id)
			return Appealed{Case: c, Replayed: true}, storeFault(op, err)
		}
		out, err := d.appeal(ctx, r, key[:], print)
		if errors.Is(err, errReplay) {
			continue
		}
		return out, storeFault(op, err)
	}
	return Appealed{}, fault.New(fault.IdempotencyInFlight, "").WithOp(op)
}

func (r *AppealRequest) fingerprint() []byte {
	b, _ := json.Marshal(struct { // strings only: it has a form; maps are sorted
		Payment pay.ID
		Text    string
		Client  map[string]string
	}{r.Payment.ID, r.Text, r.Client})
	sum := sha256.Sum256(b)
	return sum[:]
}

// used looks the key up.
func (d *Desk) used(ctx context.Context, tenant pay.TenantID, key, print []byte) (id int64, yes bool, err error) {
	var have []byte
	err = d.cfg.Pool.QueryRow(ctx, `select case_id, fingerprint from appeals where tenant = $1 and key = $2`, int32(tenant), key).Scan(&id, &have)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, false, nil
	case err != nil:
		return 0, false, storeFault("desk.Appeal", err)
	case string(have) != string(print):
		return 0, false, fault.New(fault.IdempotencyKeyReused, "the key was used for another appeal").WithOp("desk.Appeal")
	}
	return id, true, nil
}

// urgentTimes is how much sooner an urgent appeal is due. What is due first comes first
// in every list.
const urgentTimes = 4

// urgent says why an appeal goes ahead of others: its payment is past its own bound, or
// it is about much money. Empty is the usual case.
func (d *Desk) urgent(p *pay.Payment, now time.Time) string {
	if p.Open() && !p.Deadline.IsZero() && now.After(p.Deadline) {
		return "late"
	}
	if from, known := d.cfg.UrgentFrom[p.Asset]; known && p.Amount.Cmp(from) >= 0 {
		return "value"
	}
	return ""
}

func (d *Desk) appeal(ctx context.Context, r *AppealRequest, key, print []byte) (out Appealed, err error) {
	now := d.now()
	finding := findingOf(&r.Payment)
	finding.Told, finding.Client = r.Told, r.Client
	o := opening{tenant: r.Tenant, payment: r.Payment.ID, kind: Appeal, finding: finding, by: r.By, text: r.Text}
	if o.finding.Urgent = d.urgent(&r.Payment, now); o.finding.Urgent != "" {
		o.place.Within = d.places[Appeal].Within / urgentTimes
	}
	var id int64
	var born bool
	err = pgx.BeginFunc(ctx, d.cfg.Pool, func(tx pgx.Tx) error {
		if id, born, err = d.openIn(ctx, tx, &o, now); err != nil {
			return err
		}
		if !born {
			if err := d.again(ctx, tx, id, now, r); err != nil {
				return err
			}
		}
		tag, err := tx.Exec(ctx, `insert into appeals (tenant, key, fingerprint, case_id, at) values ($1, $2, $3, $4, $5) on conflict do nothing`,
			int32(r.Tenant), key, print, id, now)
		if err == nil && tag.RowsAffected() == 0 {
			return errReplay
		}
		return err
	})
	if err != nil {
		return out, err
	}
	d.appeals.Inc()
	if born {
		d.told(ctx, id, &o, now)
	}
	out.Again = !born
	out.Case, err = d.read(ctx, id)
	return out, err
}

// again notes a repeated appeal, and reopens a case that was answered: the holder
// is not content with it.
func (d *Desk) again(ctx context.Context, tx pgx.Tx, id int64, now time.Time, r *AppealRequest) error {
	var n int
	if err := tx.QueryRow(ctx, `select count(*) from case_notes where case_id = $1 and action = 'again'`, id).Scan(&n); err != nil {
		return err
	}
	if n < appealsMax {
		if err := note(ctx, tx, id, now, Note{By: r.By, Action: again, Text: r.Text}); err != nil {
			return err
		}
	}
	place := d.places[Appeal]
	_, err := tx.Exec(ctx, `update cases set state = 'open', answered_at = null, escalated_at = null, deadline = $2 where id = $1 and state = 'answered'`,
		id, now.Add(place.Within))
	return err
}

func storeFault(op string, err error) error {
	var f *fault.Error
	switch {
	case err == nil, errors.As(err, &f):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		// The caller's time is over: that says nothing of the database.
		return fault.New(fault.Timeout, "the same request again tells what became of it").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
	}
	return fault.New(fault.DatabaseUnavailable, "the cases cannot be reached at the moment").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
}
