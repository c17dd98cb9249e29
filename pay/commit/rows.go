package commit

import (
	"time"

	"github.com/moneta-pay/moneta/internal/pgbatch"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// table is one statement of the batch and the columns that feed it.
type table struct {
	statement pgbatch.Statement
	columns   []*pgbatch.Column
}

func (t *table) reset() {
	for _, c := range t.columns {
		c.Reset()
	}
}

// The statements of a batch, in the order in which they run. Each is set-based
// over unnest: one plan, however many rows.
func newTables() (ts [tableCount]*table) {
	i2, i4, i8 := pgbatch.Int2, pgbatch.Int4, pgbatch.Int8
	txt, num, tz, id := pgbatch.Text, pgbatch.Numeric, pgbatch.Timestamptz, pgbatch.UUID
	add := func(n int, name, sql string, columns ...*pgbatch.Column) {
		ts[n] = &table{pgbatch.Statement{Name: name, SQL: sql}, columns}
	}
	add(accountRows, "accounts", `insert into accounts (id, tenant, kind, asset, name, floor, created_at)
  select * from unnest($1::bigint[], $2::integer[], $3::smallint[], $4::text[], $5::text[], $6::numeric[], $7::timestamptz[])`,
		i8(), i4(), i2(), txt(), txt(), num(), tz())
	// The only statement on the road that writes an account's row, and so the only
	// one that a foreign session can hold up. It does not wait: a row that is
	// locked makes a negative number, whose root is an error of its own.
	add(accountUpdates, "account_updates", `with u as (select * from unnest($1::bigint[], $2::numeric[], $3::boolean[], $4::boolean[], $5::text[]) u(id, floor, frozen, frozen_all, reason)),
  free as (select a.id from accounts a join u using (id) for no key update of a skip locked),
  done as (update accounts a set floor = u.floor, frozen = u.frozen, frozen_all = u.frozen_all, freeze_reason = u.reason from u join free using (id) where a.id = u.id returning 1)
  select sqrt((select count(*) from done) - (select count(*) from u))`,
		i8(), num(), pgbatch.Bool(), pgbatch.Bool(), txt())
	add(accountChangeRows, "account_changes", `insert into account_changes (account, floor, frozen, frozen_all, reason, by, at)
  select * from unnest($1::bigint[], $2::numeric[], $3::boolean[], $4::boolean[], $5::text[], $6::text[], $7::timestamptz[])`,
		i8(), num(), pgbatch.Bool(), pgbatch.Bool(), txt(), txt(), tz())
	add(keyRows, "keys", `insert into keys (key, fingerprint, kind, subject, refusal, detail, param, resource, at)
  select * from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[])`,
		id(), id(), i2(), i8(), txt(), txt(), txt(), txt(), tz())
	add(paymentRows, "payments", `insert into payments (id, tenant, kind, asset, amount, fee, from_account, to_account, channel,
    payee_account, payee_name, remittance, metadata, key, trace_id, effective_at, created_at, original, expires_at, link)
  select * from unnest($1::bigint[], $2::integer[], $3::smallint[], $4::text[], $5::numeric[], $6::numeric[], $7::bigint[], $8::bigint[],
    $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::uuid[], $15::uuid[], $16::timestamptz[], $17::timestamptz[],
    $18::bigint[], $19::timestamptz[], $20::text[])`,
		i8(), i4(), i2(), txt(), num(), num(), i8(), i8(), txt(), txt(), txt(), txt(), txt(), id(), id(), tz(), tz(), i8(), tz(), txt())
	add(transferRows, "transfers", `insert into transfers (id, payment, debit, credit, amount, debit_seq, credit_seq, debit_balance, credit_balance,
    transition, effective_at, booked_at)
  select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::numeric[], $6::bigint[], $7::bigint[], $8::numeric[], $9::numeric[],
    $10::smallint[], $11::timestamptz[], $12::timestamptz[])`,
		i8(), i8(), i8(), i8(), num(), i8(), i8(), num(), num(), i2(), tz(), tz())
	add(transitionRows, "transitions", `insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt,
    first_transfer, transfers, source, reason, at)
  select * from unnest($1::bigint[], $2::bigint[], $3::integer[], $4::smallint[], $5::smallint[], $6::smallint[], $7::smallint[], $8::smallint[],
    $9::bigint[], $10::smallint[], $11::text[], $12::text[], $13::timestamptz[])`,
		i8(), i8(), i4(), i2(), i2(), i2(), i2(), i2(), i8(), i2(), txt(), txt(), tz())
	add(attemptRows, "attempts", `insert into attempts (payment, n, channel, reference, state, send_by, intended_at, answered_at, channel_id, reason)
  select * from unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[], $5::smallint[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[],
    $9::text[], $10::text[])`,
		i8(), i2(), txt(), txt(), i2(), tz(), tz(), tz(), txt(), txt())
	add(attemptUpdates, "attempt_updates", `update attempts a set state = u.state, answered_at = u.at, channel_id = u.channel_id, reason = u.reason, send_by = u.send_by
  from unnest($1::bigint[], $2::smallint[], $3::smallint[], $4::timestamptz[], $5::text[], $6::text[], $7::timestamptz[])
       u(payment, n, state, at, channel_id, reason, send_by)
 where a.payment = u.payment and a.n = u.n`,
		i8(), i2(), i2(), tz(), txt(), txt(), tz())
	add(openRows, "open", `insert into open_payments (payment, tenant, kind, asset, amount, account, channel, state, hop, entered_at, next_at, deadline,
    attempt, checks, last_checked_at)
  select * from unnest($1::bigint[], $2::integer[], $3::smallint[], $4::text[], $5::numeric[], $6::bigint[], $7::text[], $8::smallint[], $9::text[],
    $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::smallint[], $14::integer[], $15::timestamptz[])`,
		i8(), i4(), i2(), txt(), num(), i8(), txt(), i2(), txt(), tz(), tz(), tz(), i2(), i4(), tz())
	// This table is empty at times, and statistics of such a moment say so. A plain join
	// then goes through all of u for each open payment; this one can only look up u's.
	add(openUpdates, "open_updates", `update open_payments o set state = u.state, hop = u.hop, entered_at = u.entered_at, next_at = u.next_at,
    deadline = u.deadline, attempt = u.attempt, checks = u.checks, last_checked_at = u.last_checked_at, channel = u.channel
  from unnest($1::bigint[], $2::smallint[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::smallint[], $8::integer[],
    $9::timestamptz[], $10::text[]) u(payment, state, hop, entered_at, next_at, deadline, attempt, checks, last_checked_at, channel)
  cross join lateral (select ctid from open_payments where payment = u.payment offset 0) place
 where o.ctid = place.ctid`,
		i8(), i2(), txt(), tz(), tz(), tz(), i2(), i4(), tz(), txt())
	add(openDeletes, "open_deletes", `delete from open_payments where payment = any($1::bigint[])`, i8())
	add(hopUpdates, "hops", `insert into hop_counts as h (hop, channel, asset, open, value, entered, "left")
  select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::numeric[], $6::bigint[], $7::bigint[])
  on conflict (hop, channel, asset) do update set open = h.open + excluded.open, value = h.value + excluded.value,
    entered = h.entered + excluded.entered, "left" = h."left" + excluded."left"`,
		txt(), txt(), txt(), i8(), num(), i8(), i8())
	add(quarantineRows, "quarantine", `insert into quarantine (shard, payment, fact, error, at, key, step)
  select * from unnest($1::smallint[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::uuid[], $7::text[])
  on conflict (payment, step) where step is not null do nothing`,
		i2(), i8(), txt(), txt(), tz(), id(), txt())
	add(periodRows, "periods", `insert into periods (tenant, asset, until, closed_at, closed_by, last_transfer)
  select * from unnest($1::integer[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::bigint[])`,
		i4(), txt(), tz(), tz(), txt(), i8())
	// The fence: nothing of the batch stands unless the shard is still ours.
	// Zero rows divide by zero, which aborts the transaction.
	add(fence, "fence", `with fenced as (
    update shards set last_account = ($4::bigint[])[1], last_payment = ($5::bigint[])[1], last_transfer = ($6::bigint[])[1],
           last_transition = ($7::bigint[])[1]
     where id = ($1::smallint[])[1] and epoch = ($2::bigint[])[1] and leader = ($3::uuid[])[1]
    returning 1)
  select 1 / count(*) from fenced`,
		i2(), i8(), id(), i8(), i8(), i8(), i8())
	return ts
}

const (
	accountRows = iota
	accountUpdates
	accountChangeRows
	keyRows
	paymentRows
	transferRows
	transitionRows
	attemptRows
	attemptUpdates
	openRows
	openUpdates
	openDeletes
	hopUpdates
	quarantineRows
	periodRows
	fence
	tableCount
)

func (b *batch) writeAccount(a *ledger.Account) {
	c := b.tables[accountRows].columns
	c[0].AddInt(int64(a.ID))
	c[1].AddInt(int64(a.Tenant))
	c[2].AddInt(int64(a.Kind))
	c[3].AddText(string(a.Asset))
	c[4].AddText(a.Name)
	c[5].AddAmountOrNull(a.Floor, !a.Unlimited)
	c[6].AddTime(a.CreatedAt)
}

// writeAccountUpdates writes each account once, as the batch leaves it: of two
// rows for one account, Postgres would apply either.
func (b *batch) writeAccountUpdates() {
	c := b.tables[accountUpdates].columns
	for id, a := range b.accounts {
		c[0].AddInt(int64(id))
		c[1].AddAmountOrNull(a.Floor, !a.Unlimited)
		c[2].AddBool(a.Frozen)
		c[3].AddBool(a.FrozenAll)
		c[4].AddText(a.FreezeReason)
	}
}

// writeAccountChange keeps how the account stands now, and who wanted it so.
func (b *batch) writeAccountChange(a *ledger.Account, f *ledger.AccountFact) {
	c := b.tables[accountChangeRows].columns
	c[0].AddInt(int64(a.ID))
	c[1].AddAmountOrNull(a.Floor, !a.Unlimited)
	c[2].AddBool(a.Frozen)
	c[3].AddBool(a.FrozenAll)
	c[4].AddText(f.Reason)
	c[5].AddText(f.By)
	c[6].AddTime(b.at)
}

func (b *batch) writeKey(key [16]byte, e keyEntry) {
	c := b.tables[keyRows].columns
	c[0].AddUUID(key)
	c[1].AddUUID(e.fingerprint)
	c[2].AddInt(int64(e.kind))
	c[3].AddIntOrNull(e.subject)
	var no refusal
	if e.refusal != nil {
		no = *e.refusal
	}
	c[4].AddTextOrNull(string(no.code))
	c[5].AddTextOrNull(no.detail)
	c[6].AddTextOrNull(no.param)
	c[7].AddTextOrNull(no.resource)
	c[8].AddTime(b.at)
}

func (b *batch) writePayment(p *pay.Payment) {
	c := b.tables[paymentRows].columns
	c[0].AddInt(int64(p.ID))
	c[1].AddInt(int64(p.Tenant))
	c[2].AddInt(int64(p.Kind))
	c[3].AddText(string(p.Asset))
	c[4].AddAmount(p.Amount)
	c[5].AddAmount(p.Fee)
	c[6].AddIntOrNull(int64(p.From))
	c[7].AddIntOrNull(int64(p.To))
	c[8].AddTextOrNull(p.Channel)
	c[9].AddTextOrNull(p.PayeeAccount)
	c[10].AddTextOrNull(p.PayeeName)
	c[11].AddTextOrNull(p.Remittance)
	c[12].AddTextOrNull(p.Metadata)
	c[13].AddUUID(p.Key)
	c[14].AddUUID(p.TraceID)
	c[15].AddTime(p.EffectiveAt)
	c[16].AddTime(p.CreatedAt)
	c[17].AddIntOrNull(int64(p.Original))
	c[18].AddTime(p.ExpiresAt)
	c[19].AddTextOrNull(p.Link)
}

func (b *batch) writeTransfer(t *ledger.Transfer) {
	c := b.tables[transferRows].columns
	c[0].AddInt(t.ID)
	c[1].AddInt(t.Payment)
	c[2].AddInt(int64(t.Debit))
	c[3].AddInt(int64(t.Credit))
	c[4].AddAmount(t.Amount)
	c[5].AddInt(t.DebitSeq)
	c[6].AddInt(t.CreditSeq)
	c[7].AddAmount(t.DebitBalance)
	c[8].AddAmount(t.CreditBalance)
	c[9].AddInt(int64(t.Transition))
	c[10].AddTime(t.EffectiveAt)
	c[11].AddTime(t.BookedAt)
}

func (b *batch) writeTransition(id int64, ch *pay.Change, source string, firstTransfer int64, transfers int) {
	c := b.tables[transitionRows].columns
	c[0].AddInt(id)
	c[1].AddInt(int64(ch.After.ID))
	c[2].AddInt(int64(ch.After.Seq))
	c[3].AddInt(int64(ch.T))
	c[4].AddInt(int64(ch.From))
	c[5].AddInt(int64(ch.To))
	c[6].AddInt(int64(ch.After.Settlement))
	c[7].AddInt(int64(ch.After.Attempt.N))
	c[8].AddIntOrNull(firstTransfer)
	c[9].AddInt(int64(transfers))
	c[10].AddTextOrNull(source)
	c[11].AddTextOrNull(ch.After.Reason)
	c[12].AddTime(b.at)
}

func (b *batch) writeAttempts() {
	for k, o := range b.attempts {
		a := &o.attempt
		answered := b.at
		if a.State == pay.Intended {
			answered = time.Time{}
		}
		if !o.born {
			c := b.tables[attemptUpdates].columns
			c[0].AddInt(int64(k.payment))
			c[1].AddInt(int64(k.n))
			c[2].AddInt(int64(a.State))
			c[3].AddTime(answered)
			c[4].AddTextOrNull(a.ChannelID)
			c[5].AddTextOrNull(a.Reason)
			c[6].AddTime(a.SendBy)
			continue
		}
		c := b.tables[attemptRows].columns
		c[0].AddInt(int64(k.payment))
		c[1].AddInt(int64(k.n))
		c[2].AddText(o.channel)
		c[3].AddText(a.Reference)
		c[4].AddInt(int64(a.State))
		c[5].AddTime(a.SendBy)
		c[6].AddTime(b.at)
		c[7].AddTime(answered)
		c[8].AddTextOrNull(a.ChannelID)
		c[9].AddTextOrNull(a.Reason)
	}
}

// writeOpen brings open_payments to what the batch made of each payment it
// touched: one row operation a payment, however many transitions it took.
func (b *batch) writeOpen() {
	for _, t := range b.touched {
		p := t.payment
		switch {
		case p.Open() && !t.wasOpen:
			b.insertOpen(p)
		case p.Open():
			b.updateOpen(p)
		case t.wasOpen:
			b.tables[openDeletes].columns[0].AddInt(int64(p.ID))
		}
	}
}

func (b *batch) insertOpen(p *pay.Payment) {
	c := b.tables[openRows].columns
	c[0].AddInt(int64(p.ID))
	c[1].AddInt(int64(p.Tenant))
	c[2].AddInt(int64(p.Kind))
	c[3].AddText(string(p.Asset))
	c[4].AddAmount(p.Amount)
	c[5].AddInt(int64(p.Holder()))
	c[6].AddText(p.Channel)
	c[7].AddInt(int64(p.State))
	c[8].AddText(p.Hop())
	c[9].AddTime(p.EnteredAt)
	c[10].AddTime(p.NextAt)
	c[11].AddTime(p.Deadline)
	c[12].AddInt(int64(p.Attempt.N))
	c[13].AddInt(int64(p.Checks))
	c[14].AddTime(p.LastCheckedAt)
}

func (b *batch) updateOpen(p *pay.Payment) {
	c := b.tables[openUpdates].columns
	c[0].AddInt(int64(p.ID))
	c[1].AddInt(int64(p.State))
	c[2].AddText(p.Hop())
	c[3].AddTime(p.EnteredAt)
	c[4].AddTime(p.NextAt)
	c[5].AddTime(p.Deadline)
	c[6].AddInt(int64(p.Attempt.N))
	c[7].AddInt(int64(p.Checks))
	c[8].AddTime(p.LastCheckedAt)
	c[9].AddText(p.Channel)
}

func (b *batch) writeHops() {
	for k, d := range b.hops {
		c := b.tables[hopUpdates].columns
		c[0].AddText(k.hop)
		c[1].AddText(k.channel)
		c[2].AddText(string(k.asset))
		c[3].AddInt(d.entered - d.left)
		c[4].AddAmount(d.value)
		c[5].AddInt(d.entered)
		c[6].AddInt(d.left)
	}
}

func (b *batch) writeFence(shard int16, epoch int64, leader [16]byte, last ids) {
	c := b.tables[fence].columns
	c[0].AddInt(int64(shard))
	c[1].AddInt(epoch)
	c[2].AddUUID(leader)
	c[3].AddInt(last.account)
	c[4].AddInt(last.payment)
	c[5].AddInt(last.transfer)
	c[6].AddInt(last.transition)
}
