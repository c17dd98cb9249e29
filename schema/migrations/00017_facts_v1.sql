-- facts v1: what a doctor needs to see of a wallet, in words that any wallet has.
-- docs/facts.md is the contract; a test pins the columns. Codes become names here,
-- in functions that a later migration may replace as the pay plane learns more.
-- +goose Up
drop view facts.open_items, facts.hops, facts.transitions, facts.attempts, facts.callbacks;

create function facts.kind_name(kind smallint) returns text language sql immutable parallel safe as $$
  select case kind when 1 then 'send' when 2 then 'payout' when 3 then 'deposit' when 4 then 'hold' when 5 then 'capture'
    when 6 then 'refund' when 7 then 'late_payout' when 8 then 'late_deposit' when 9 then 'return' when 10 then 'inbound'
    when 11 then 'assignment' when 12 then 'chargeback' when 13 then 'compensation' else 'kind_' || kind end
$$;

create function facts.state_name(state smallint) returns text language sql immutable parallel safe as $$
  select case state when 0 then 'none' when 1 then 'created' when 2 then 'reserved' when 3 then 'dispatching' when 4 then 'processing'
    when 5 then 'unknown' when 6 then 'succeeded' when 7 then 'failed' when 8 then 'cancelled' when 9 then 'expired'
    when 10 then 'requires_action' when 11 then 'in_review' else 'state_' || state end
$$;

create function facts.attempt_name(state smallint) returns text language sql immutable parallel safe as $$
  select case state when 0 then 'none' when 1 then 'intended' when 2 then 'acked' when 3 then 'unknown' when 4 then 'confirmed'
    when 5 then 'declined' when 6 then 'absent' when 7 then 'never_sent' else 'attempt_' || state end
$$;

-- Who has a payment of this kind in this state; null when nobody has it any more.
create function facts.hop_name(kind smallint, state smallint) returns text language sql immutable parallel safe as $$
  select case state when 1 then case kind when 3 then 'channel' else 'intake' end
    when 2 then case kind when 4 then 'holder' else 'dispatch' end
    when 3 then case when kind in (7, 12) then 'holder' else 'channel' end
    when 4 then case when kind in (7, 12) then 'holder' else 'channel' end
    when 5 then 'settle' when 10 then 'holder' when 11 then 'operator' end
$$;

-- The logs have no index on their times, which only rise: where a time begins is
-- found by halving, some sixty probes of the primary key. It answers for whoever may
-- read the views, and tells nothing but a number.
-- +goose StatementBegin
create function facts.transitions_since(moment timestamptz) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  low bigint; high bigint; mid bigint; seen timestamptz;
begin
  select coalesce(min(id), 1) - 1, coalesce(max(id), 0) + 1 into low, high from public.transitions;
  while low + 1 < high loop
    mid := low + (high - low) / 2;
    select at into seen from public.transitions where id >= mid order by id limit 1;
    if seen is null or seen >= moment then high := mid; else low := mid; end if;
  end loop;
  return high;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function facts.callbacks_since(moment timestamptz) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  low bigint; high bigint; mid bigint; seen timestamptz;
begin
  select coalesce(min(id), 1) - 1, coalesce(max(id), 0) + 1 into low, high from public.inbox;
  while low + 1 < high loop
    mid := low + (high - low) / 2;
    select received_at into seen from public.inbox where id >= mid order by id limit 1;
    if seen is null or seen >= moment then high := mid; else low := mid; end if;
  end loop;
  return high;
end $$;
-- +goose StatementEnd

create view facts.contract as select 1 as version, 'moneta'::text as wallet, now() as at;
comment on view facts.contract is 'one row: the version of this contract, and the clock that the times below are told by';

create view facts.open_items as
  select payment, tenant, facts.kind_name(kind) as kind, account, hop, nullif(channel, '') as channel, asset, amount as value,
         length(trunc(amount)::text)::integer as amount_band, facts.state_name(state) as state, attempt,
         entered_at, next_at, deadline, checks, last_checked_at
    from public.open_payments;
comment on view facts.open_items is 'every payment that is not final: where it is, since when, and until when it should be there';

create view facts.hops as
  select hop, nullif(channel, '') as channel, asset, open, value, entered, "left" from public.hop_counts;
comment on view facts.hops is 'work waiting at each hop, and how much came and went since the ledger began';

create view facts.timers as
  select payment, tenant, hop, channel, next_at, deadline, has_case, next_at < now() as due, astray and not has_case as orphan,
         deadline < now() or astray and not has_case as stalled
    from (select o.payment, o.tenant, o.hop, nullif(o.channel, '') as channel, o.next_at, o.deadline, o.next_at < now() - interval '2 seconds' as astray,
            exists (select from public.cases c where c.payment = o.payment and c.state <> 'closed') as has_case
            from public.open_payments o) t;
comment on view facts.timers is 'what drives each open payment next: a timer in the future, or a case with a person';

create view facts.live_attempts as
  select o.payment, a.n, o.tenant, facts.kind_name(o.kind) as kind, a.channel, o.asset, o.amount as value, a.reference,
         facts.attempt_name(a.state) as state, a.send_by, a.intended_at, a.answered_at, a.channel_id, a.reason
    from public.open_payments o join public.attempts a on a.payment = o.payment and a.n = o.attempt;
comment on view facts.live_attempts is 'the newest attempt of each open payment';

create view facts.attempts as
  select payment, n, channel, reference, facts.attempt_name(state) as state, send_by, intended_at, answered_at, channel_id, reason
    from public.attempts;
comment on view facts.attempts is 'every attempt ever; ask by payment';

create view facts.transitions as
  select id, payment, seq, transition, facts.state_name(from_state) as from_state, facts.state_name(to_state) as to_state,
         attempt, source, reason, at from public.transitions;
comment on view facts.transitions is 'the event log: ids are gap-free in commit order; page by id, ask by payment';

create view facts.throughput as
  select date_trunc('minute', w.at) as minute, w.hop, w.kind, w.channel, w.asset, sum(w.came) as entered, sum(w.went) as "left"
    from (select t.at, m.hop, facts.kind_name(p.kind) as kind, coalesce(a.channel, p.channel) as channel, p.asset, m.came, m.went
            from public.transitions t
            join public.payments p on p.id = t.payment
            left join public.attempts a on a.payment = t.payment and a.n = t.attempt
           cross join lateral (values (facts.hop_name(p.kind, t.to_state), 1, 0), (facts.hop_name(p.kind, t.from_state), 0, 1)) m(hop, came, went)
           where t.id >= facts.transitions_since(now() - interval '15 minutes') and t.from_state <> t.to_state
             and not (t.from_state = 0 and t.to_state between 6 and 9)
             and facts.hop_name(p.kind, t.from_state) is distinct from facts.hop_name(p.kind, t.to_state) and m.hop is not null) w
   group by 1, 2, 3, 4, 5;
comment on view facts.throughput is 'what came to and left each hop, by minute, for the last 15 minutes';

create view facts.minutes as
  select date_trunc('minute', at) as minute, count(*) filter (where from_state = 0) as accepted,
         count(*) filter (where from_state <> to_state and to_state = 6) as succeeded, count(*) filter (where from_state <> to_state and to_state = 7) as failed,
         count(*) filter (where from_state <> to_state and to_state in (8, 9)) as ended, count(*) as transitions
    from public.transitions where id >= facts.transitions_since(now() - interval '15 minutes') group by 1;
comment on view facts.minutes is 'payments accepted and finished, by minute, for the last 15 minutes';

create view facts.callbacks as
  select id, channel, received_at, applied_at, round(extract(epoch from applied_at - received_at), 3) as lag_s, verdict from public.inbox;
comment on view facts.callbacks is 'every callback as it was stored; page by id';

create view facts.callback_backlog as
  select channel, count(*) as waiting, count(*) filter (where verdict = 'parked') as parked, min(received_at) as oldest_received_at
    from public.inbox where applied_at is null group by channel;
comment on view facts.callback_backlog is 'callbacks that are stored and not yet applied';

create view facts.callback_minutes as
  select date_trunc('minute', received_at) as minute, channel, coalesce(verdict, 'waiting') as verdict, count(*) as callbacks,
         round(max(extract(epoch from coalesce(applied_at, now()) - received_at)), 3) as lag_max_s
    from public.inbox where id >= facts.callbacks_since(now() - interval '15 minutes') group by 1, 2, 3;
comment on view facts.callback_minutes is 'callbacks by minute and verdict, for the last 15 minutes';

create view facts.heartbeats as
  select h.shard, h.leader, h.epoch, h.beat, s.last_account, s.last_payment, s.last_transfer, s.last_transition
    from public.heartbeats h join public.shards s on s.id = h.shard;
comment on view facts.heartbeats is 'who leads each shard: the beat rises while it makes progress';

create view facts.projections as
  select m.name, m.value as position, s.head, greatest(s.head - m.value, 0) as behind
    from (select name, value from public.marks where name = 'recon_expected'
          union all select 'webhooks', position from public.webhook_cursor) m
   cross join (select coalesce(max(last_transition), 0) as head from public.shards) s;
comment on view facts.projections is 'readers of the event log: how far each is, and how far behind the newest event';

create view facts.pauses as
  select id, reason, paused_at, resumed_at from public.dispatch_pauses;
comment on view facts.pauses is 'times in which payouts were not sent after a restore; open while resumed_at is null';

create view facts.quarantine as
  select id, shard, payment, at from public.quarantine;
comment on view facts.quarantine is 'facts that could not be committed, each waiting for a person';

revoke all on function facts.transitions_since(timestamptz), facts.callbacks_since(timestamptz) from public;
grant execute on function facts.transitions_since(timestamptz), facts.callbacks_since(timestamptz) to moneta_facts, moneta_pay;
grant select on all tables in schema facts to moneta_facts, moneta_pay;

-- +goose Down
drop view facts.quarantine, facts.pauses, facts.projections, facts.heartbeats, facts.callback_minutes, facts.callback_backlog,
  facts.callbacks, facts.minutes, facts.throughput, facts.transitions, facts.attempts, facts.live_attempts, facts.timers, facts.hops,
  facts.open_items, facts.contract;
drop function facts.callbacks_since(timestamptz), facts.transitions_since(timestamptz), facts.hop_name(smallint, smallint),
  facts.attempt_name(smallint), facts.state_name(smallint), facts.kind_name(smallint);
create view facts.open_items as
  select payment, tenant, hop, channel, asset, amount as value, state, attempt, entered_at, next_at, deadline, checks, last_checked_at
    from public.open_payments;
create view facts.hops as select hop, channel, asset, open, value, entered, "left" from public.hop_counts;
create view facts.transitions as
  select id, payment, seq, transition, from_state, to_state, attempt, source, reason, at from public.transitions;
create view facts.attempts as
  select payment, n, channel, reference, state, send_by, intended_at, answered_at, channel_id, reason from public.attempts;
create view facts.callbacks as select id, channel, received_at, applied_at, verdict from public.inbox;
grant select on all tables in schema facts to moneta_facts, moneta_pay;
