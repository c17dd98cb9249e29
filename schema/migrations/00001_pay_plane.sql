-- The pay plane. Every money table is append only: the role that the pay plane
-- runs as may not update or delete there. There are no foreign keys on the hot
-- path: the decider is the only writer, and a foreign session that locks an
-- account row must not be able to hold up a commit.
-- +goose Up
-- +goose StatementBegin
do $$
begin
  if not exists (select from pg_roles where rolname = 'moneta_pay') then
    create role moneta_pay nologin;
  end if;
  if not exists (select from pg_roles where rolname = 'moneta_facts') then
    create role moneta_facts nologin;
  end if;
exception when duplicate_object or unique_violation then null;
end $$;
-- +goose StatementEnd
-- +goose StatementBegin
do $$ begin execute format('grant moneta_pay, moneta_facts to %I', current_user); end $$;
-- +goose StatementEnd

create table tenants (
  id         integer primary key,
  name       text not null unique,
  created_at timestamptz not null default now()
);

create table api_keys (
  prefix     text primary key,
  tenant     integer not null references tenants,
  hash       bytea not null,
  name       text not null,
  scopes     text[] not null,
  created_at timestamptz not null default now(),
  revoked_at timestamptz
);

-- One row a shard: who leads it, under which epoch, and the last ids given out.
-- The last statement of every batch updates it under (epoch, leader).
create table shards (
  id              smallint primary key,
  epoch           bigint not null default 0,
  leader          uuid,
  leader_url      text not null default '',
  last_account    bigint not null default 0,
  last_payment    bigint not null default 0,
  last_transfer   bigint not null default 0,
  last_transition bigint not null default 0
) with (fillfactor = 10);

-- The heartbeat is a counter in a row of its own, so that it never waits for a
-- batch.
create table heartbeats (
  shard  smallint primary key,
  leader uuid,
  epoch  bigint not null default 0,
  beat   bigint not null default 0
) with (fillfactor = 10);

insert into shards (id) values (0);
insert into heartbeats (shard) values (0);

create table cluster (
  one        boolean primary key default true check (one),
  credential bytea not null
);
insert into cluster (credential) values (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

-- An account owns two books: id (available) and id + 1 (held). Ids are even.
create table accounts (
  id         bigint primary key check (id % 2 = 0),
  tenant     integer not null,
  kind       smallint not null,
  asset      text not null,
  name       text not null,
  floor      numeric check (floor <= 0),
  frozen     boolean not null default false,
  created_at timestamptz not null
);
create unique index accounts_system on accounts (tenant, asset, name) where kind = 3;
comment on column accounts.floor is 'lowest allowed available balance; null is unlimited';
comment on column accounts.kind is '1 user, 2 house, 3 system (clearing, nostro, fees)';

create table payments (
  id            bigint primary key,
  tenant        integer not null,
  kind          smallint not null,
  asset         text not null,
  amount        numeric not null check (amount > 0),
  fee           numeric not null check (fee >= 0),
  from_account  bigint,
  to_account    bigint,
  channel       text,
  payee_account text,
  payee_name    text,
  remittance    text,
  metadata      text,
  key           uuid not null,
  trace_id      uuid not null,
  effective_at  timestamptz not null,
  created_at    timestamptz not null
);

-- Idempotency: one row a key, for the life of the ledger. kind: 1 payment,
-- 2 account, 3 a refusal that is repeated.
create table keys (
  key         uuid primary key,
  fingerprint uuid not null,
  kind        smallint not null,
  subject     bigint,
  refusal     text,
  detail      text,
  param       text,
  resource    text,
  at          timestamptz not null
);

-- Double entry, append only: one row moves amount from debit to credit and
-- carries both books' balances after it. The per-book sequences are unique: two
-- deciders can never both write, and the newest row of a book is its balance.
create table transfers (
  id             bigint primary key,
  payment        bigint not null,
  debit          bigint not null,
  credit         bigint not null check (credit <> debit),
  amount         numeric not null check (amount > 0),
  debit_seq      bigint not null,
  credit_seq     bigint not null,
  debit_balance  numeric not null,
  credit_balance numeric not null,
  transition     smallint not null,
  effective_at   timestamptz not null,
  booked_at      timestamptz not null
);
create unique index transfers_debit on transfers (debit, debit_seq);
create unique index transfers_credit on transfers (credit, credit_seq);

-- The transition log is the event log: ids are gap-free in commit order.
create table transitions (
  id             bigint primary key,
  payment        bigint not null,
  seq            integer not null,
  transition     smallint not null,
  from_state     smallint not null,
  to_state       smallint not null,
  settlement     smallint not null,
  attempt        smallint not null,
  first_transfer bigint,
  transfers      smallint not null,
  source         text,
  reason         text,
  at             timestamptz not null
);
create unique index transitions_payment on transitions (payment, seq);

create table attempts (
  payment     bigint not null,
  n           smallint not null,
  channel     text not null,
  reference   text not null,
  state       smallint not null,
  send_by     timestamptz not null,
  intended_at timestamptz not null,
  answered_at timestamptz,
  channel_id  text,
  reason      text,
  primary key (payment, n)
) with (fillfactor = 80);

-- Open payments, and only those: in at accept, out at the final state. No index
-- on a column that changes, so that updates stay heap-only.
create table open_payments (
  payment         bigint primary key,
  tenant          integer not null,
  kind            smallint not null,
  asset           text not null,
  amount          numeric not null,
  account         bigint not null,
  channel         text not null,
  state           smallint not null,
  hop             text not null,
  entered_at      timestamptz not null,
  next_at         timestamptz not null,
  deadline        timestamptz not null,
  attempt         smallint not null,
  checks          integer not null,
  last_checked_at timestamptz
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);
create index open_payments_account on open_payments (account);

-- How many payments, and how much, sit at each hop; kept by the same batch.
create table hop_counts (
  hop     text not null,
  channel text not null,
  asset   text not null,
  open    bigint not null,
  value   numeric not null,
  entered bigint not null,
  "left"  bigint not null,
  primary key (hop, channel, asset)
) with (fillfactor = 20);

-- Facts that could not be committed alone. A person decides.
create table quarantine (
  id      bigint generated always as identity primary key,
  shard   smallint not null,
  payment bigint,
  fact    text not null,
  error   text not null,
  at      timestamptz not null default now()
);

-- Callbacks as they came, before anybody judges them.
create table inbox (
  id          bigint generated always as identity primary key,
  channel     text not null,
  headers     text not null,
  body        bytea not null,
  trace_id    uuid,
  received_at timestamptz not null,
  applied_at  timestamptz,
  verdict     text
) with (fillfactor = 70);
create index inbox_waiting on inbox (id) where applied_at is null;

-- Event ids that channels have used: a second one is a duplicate.
create table inbox_events (
  channel  text not null,
  event_id text not null,
  at       timestamptz not null default now(),
  primary key (channel, event_id)
);

-- Reconciliation: what the channels' statements said, and what did not match.
create table statement_lines (
  channel    text not null,
  seq        bigint not null,
  line_id    text not null,
  direction  smallint not null,
  reference  text not null,
  amount     numeric not null,
  fee        numeric not null,
  asset      text not null,
  remittance text not null,
  booked_at  timestamptz not null,
  payment    bigint,
  outcome    text not null,
  primary key (channel, seq)
);
create index statement_lines_reference on statement_lines (channel, reference);

create table breaks (
  id         bigint generated always as identity primary key,
  class      text not null,
  channel    text not null,
  payment    bigint,
  reference  text not null default '',
  asset      text not null default '',
  amount     numeric not null default 0,
  detail     text not null default '',
  opened_at  timestamptz not null default now(),
  closed_at  timestamptz,
  unique (class, channel, reference)
);

-- Small durable counters of the stations: what a report asks for after a crash.
create table marks (
  name  text primary key,
  value bigint not null
) with (fillfactor = 20);

-- What the world may read: the contract between wallets and the doctor.
create schema facts;

create view facts.open_items as
  select payment, tenant, hop, channel, asset, amount as value, state, attempt,
         entered_at, next_at, deadline, checks, last_checked_at
    from public.open_payments;
comment on view facts.open_items is 'every payment that is not final: where it is, since when, and until when it should be there';

create view facts.hops as
  select hop, channel, asset, open, value, entered, "left" from public.hop_counts;
comment on view facts.hops is 'work waiting and departed at each hop since the ledger began';

create view facts.transitions as
  select id, payment, seq, transition, from_state, to_state, attempt, source, reason, at from public.transitions;
comment on view facts.transitions is 'the event log: ids are gap-free in commit order';

create view facts.attempts as
  select payment, n, channel, reference, state, send_by, intended_at, answered_at, channel_id, reason from public.attempts;

create view facts.callbacks as
  select id, channel, received_at, applied_at, verdict from public.inbox;

create view facts.postings as
  select id, payment, debit as account, -amount as amount, effective_at, booked_at from public.transfers
  union all
  select id, payment, credit, amount, effective_at, booked_at from public.transfers;
comment on view facts.postings is 'both sides of every transfer; the sum over all is zero';

create view facts.breaks as
  select id, class, channel, payment, reference, asset, amount, detail, opened_at, closed_at from public.breaks;

grant usage on schema public, facts to moneta_pay;
grant usage on schema facts to moneta_facts;
grant select on all tables in schema facts to moneta_facts, moneta_pay;
grant select, insert on transfers, transitions, payments, keys, statement_lines, inbox_events, quarantine, tenants to moneta_pay;
grant select, insert, update on shards, heartbeats, accounts, attempts, hop_counts, inbox, breaks, marks, api_keys to moneta_pay;
grant select, insert, update, delete on open_payments to moneta_pay;
grant select on cluster to moneta_pay;
grant usage on all sequences in schema public to moneta_pay;

-- +goose Down
drop schema facts cascade;
drop table marks, breaks, statement_lines, inbox_events, inbox, quarantine, hop_counts, open_payments, attempts,
  transitions, transfers, keys, payments, accounts, cluster, heartbeats, shards, api_keys, tenants;
