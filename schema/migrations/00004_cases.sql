-- Cases: what a person must look at, with an owner and a deadline. Nothing here is
-- money. What a case says was found and what people noted is only ever appended.
-- +goose Up
create table cases (
  id           bigint generated always as identity primary key,
  tenant       integer not null,
  payment      bigint,
  kind         text not null,
  state        text not null default 'open' check (state in ('open', 'answered', 'closed')),
  owner        text not null,
  finding      text not null,
  opened_at    timestamptz not null,
  deadline     timestamptz not null,
  escalated_at timestamptz,
  answered_at  timestamptz,
  closed_at    timestamptz,
  closed_by    text,
  resolution   text,
  check ((state = 'closed') = (closed_at is not null) and (closed_at is null) = (closed_by is null) and (closed_at is null) = (resolution is null))
);
comment on column cases.tenant is 'whose payment it is about; 0 when nobody knows whose money it is';
comment on column cases.finding is 'what was known when it was opened, as JSON';
create unique index cases_one on cases (payment, kind) where state <> 'closed' and payment is not null;
create index cases_due on cases (deadline, id) where state <> 'closed';
create index cases_payment on cases (payment) where payment is not null;

-- The durable row that a case was opened for: each break and each quarantined Fact
-- becomes a case once.
create table case_origins (
  origin  text not null check (origin in ('break', 'quarantine')),
  id      bigint not null,
  case_id bigint not null,
  primary key (origin, id)
);
create index case_origins_case on case_origins (case_id);

create table case_notes (
  id        bigint generated always as identity primary key,
  case_id   bigint not null,
  at        timestamptz not null,
  "by"      text not null,
  action    text not null check (action in ('opened', 'again', 'noted', 'answered', 'assigned', 'escalated', 'closed')),
  text      text not null,
  to_holder boolean not null default false,
  url       text not null default '',
  sha256    bytea check (length(sha256) = 32)
);
create index case_notes_case on case_notes (case_id, id);
comment on column case_notes.to_holder is 'the holder of the payment may read it; everything else is internal';

-- An appeal's idempotency key, for the life of the ledger.
create table appeals (
  tenant      integer not null,
  key         bytea not null,
  fingerprint bytea not null,
  case_id     bigint not null,
  at          timestamptz not null,
  primary key (tenant, key)
);

create view facts.cases as
  select 'C-' || extract(year from opened_at at time zone 'UTC')::text || '-' || lpad(id::text, greatest(6, length(id::text)), '0') as number,
         tenant, payment, kind, state, owner, opened_at, deadline, escalated_at, answered_at, closed_at
    from public.cases;
comment on view facts.cases is 'what people are at: one open case a payment and kind, with its owner and deadline';

grant select, insert, update on cases to moneta_pay;
grant select, insert on case_origins, case_notes, appeals to moneta_pay;
grant usage on all sequences in schema public to moneta_pay;
grant select on facts.cases to moneta_facts, moneta_pay;

-- +goose Down
drop view facts.cases;
drop table appeals, case_notes, case_origins, cases;
