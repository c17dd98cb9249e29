package invariant

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Standing is what the checks have found, and how far they have looked.
type Standing struct {
	// At is the database's time of this answer.
	At time.Time `json:"at"`
	// TurnedAt is when the last whole turn ended; nil: none ever did. TurnAgeSeconds is
	// how long ago that is: a check that does not run proves nothing.
	TurnedAt       *time.Time      `json:"turned_at,omitempty"`
	TurnAgeSeconds *int64          `json:"turn_age_s,omitempty"`
	Logs           []LogStanding   `json:"logs"`
	Checks         []CheckStanding `json:"checks"`
}

// LogStanding is how far one log was read.
type LogStanding struct {
	Log string `json:"log" enum:"transfers,transitions"`
	// Newest is the newest row's id, Head how far new rows are checked, Swept how far the
	// slow pass over the old ones is.
	Newest int64 `json:"newest"`
	Head   int64 `json:"head"`
	Swept  int64 `json:"swept"`
}

// CheckStanding is one invariant.
type CheckStanding struct {
	// Name is P1 to P11 or M2, M8.
	Name  string    `json:"name"`
	About CheckText `json:"about"`
	// Logs are those whose rows are asked.
	Logs []string `json:"logs"`
	// Open counts the subjects of which it does not hold and that nobody has closed, Ever
	// all that were ever found. Break is the newest open one; 0 without.
	Open  int64 `json:"open"`
	Ever  int64 `json:"ever"`
	Break int64 `json:"break,omitempty"`
}

// CheckText says what must hold.
type CheckText struct {
	En string `json:"en"`
	Zh string `json:"zh"`
}

// texts say what must hold; docs/invariants.md has the same table.
var texts = map[string]CheckText{
	"P1":  {En: "Both sides of a transfer are accounts of one asset and tenant: every asset sums to zero", Zh: "每笔转账的两端同属一个币种和租户：各币种合计为零"},
	"M2":  {En: "A balance is the one before it of its book, moved by the amount", Zh: "每个余额等于上一余额加减本笔金额"},
	"M8":  {En: "A book's numbers rise by one", Zh: "账簿序号逐一递增"},
	"P2":  {En: "One live attempt a payment, and it is the last", Zh: "每笔支付至多一次进行中的发送，且为最后一次"},
	"P3":  {En: "Nothing is held for what is final", Zh: "已终结的支付不再占用冻结资金"},
	"P4":  {En: "Nothing of a settled payment is left in clearing", Zh: "已结清的支付在清算科目中无余额"},
	"P5":  {En: "No holder's book falls below its floor", Zh: "持有人账簿不低于其下限"},
	"P6":  {En: "One confirmed attempt a payment", Zh: "每笔支付至多一次确认的发送"},
	"P7":  {En: "A payment's steps are numbered from 1, join end to start, and are moves of the table", Zh: "支付的步骤从 1 编号、首尾相接，且均为状态表中的变更"},
	"P9":  {En: "A final state never changes", Zh: "终态不再改变"},
	"P10": {En: "Steps and transfers name each other; what is open is where its last step led", Zh: "步骤与转账互相对应；未完成项与最后一步一致"},
	"P11": {En: "A payment's key leads to it", Zh: "支付的幂等键指向该支付"},
}

// Reader tells the standing, on any node. It holds nothing.
type Reader struct{ pool *pgxpool.Pool }

// NewReader reads through pool, which the caller keeps owning.
func NewReader(pool *pgxpool.Pool) *Reader { return &Reader{pool: pool} }

const selectChecked = `select now(), coalesce((select max(id) from transfers), 0), coalesce((select max(id) from transitions), 0),
  coalesce((select jsonb_object_agg(name, value) from marks where name like 'invariant%'), '{}')`

// The subject of a break begins with its invariant: "P5 book 12 at transfer 7".
const selectFound = `select split_part(reference, ' ', 1), count(*) filter (where closed_at is null), count(*), coalesce(max(id) filter (where closed_at is null), 0)
  from breaks where class = '` + Class + `' group by 1 limit 100`

// Standing reads what was found and how far the checks have looked, from one snapshot.
func (r *Reader) Standing(ctx context.Context) (Standing, error) {
	out := Standing{Logs: []LogStanding{}, Checks: checkStandings()}
	err := pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var transfers, transitions int64
		marks := map[string]int64{}
		if err := tx.QueryRow(ctx, selectChecked).Scan(&out.At, &transfers, &transitions, &marks); err != nil {
			return err
		}
		out.At = out.At.UTC()
		if ms, ok := marks[markTurned]; ok {
			at := time.UnixMilli(ms).UTC()
			age := int64(max(0, out.At.Sub(at)) / time.Second)
			out.TurnedAt, out.TurnAgeSeconds = &at, &age
		}
		for _, l := range []LogStanding{{Log: "transfers", Newest: transfers}, {Log: "transitions", Newest: transitions}} {
			f := following{name: l.Log}
			l.Head, l.Swept = marks[f.headMark()], marks[f.mark()]
			out.Logs = append(out.Logs, l)
		}
		return r.found(ctx, tx, out.Checks)
	})
	if err != nil {
		return out, fmt.Errorf("read how far the invariants are checked: %w", err)
	}
	return out, nil
}

func (r *Reader) found(ctx context.Context, tx pgx.Tx, checks []CheckStanding) error {
	rows, err := tx.Query(ctx, selectFound)
	if err != nil {
		return err
	}
	var name string
	var c CheckStanding
	_, err = pgx.ForEachRow(rows, []any{&name, &c.Open, &c.Ever, &c.Break}, func() error {
		for i := range checks {
			if checks[i].Name == name {
				checks[i].Open, checks[i].Ever, checks[i].Break = c.Open, c.Ever, c.Break
			}
		}
		return nil
	})
	return err
}

// checkStandings are the checks as they run, each once.
func checkStandings() []CheckStanding {
	var out []CheckStanding
	for _, log := range []struct {
		name   string
		checks []check
	}{{"transfers", transferChecks}, {"transitions", transitionChecks}} {
		for _, k := range log.checks {
			at := slices.IndexFunc(out, func(c CheckStanding) bool { return c.Name == k.name })
			if at < 0 {
				out = append(out, CheckStanding{Name: k.name, About: texts[k.name]})
				at = len(out) - 1
			}
			out[at].Logs = append(out[at].Logs, log.name)
		}
	}
	return out
}
