-- Reconciliation in full: what each payment lets us expect, statements that come as
-- files, and breaks that have an owner and a history.
-- +goose Up

-- A break is about one line, or about a payment (line is then empty). Two lines that
-- quote the same words are two breaks.
alter table breaks
  add column line text not null default '',
  add column owner text not null default '',
  add column severity smallint not null default 0,
  add column state text not null default 'open' check (state in ('open', 'explained', 'resolved')),
  add column closed_by text,
  add column close_reason text;
update breaks set state = 'resolved', closed_by = 'recon', close_reason = 'closed before reasons were kept' where closed_at is not null;
alter table breaks drop constraint breaks_class_channel_reference_key;
create unique index breaks_one on breaks (class, channel, reference, line);
create index breaks_open on breaks (id) where closed_at is null;
create index breaks_untriaged on breaks (id) where owner = '';
comment on column breaks.owner is 'role or person who has to act; empty until recon has looked at its class';
comment on column breaks.severity is '1 money may be lost or paid twice, 2 money is misplaced, 3 a difference of figures or time';

-- What happened to a break, and who did it: appended, never changed.
create table break_events (
  id    bigint generated always as identity primary key,
  break bigint not null,
  at    timestamptz not null default now(),
  what  text not null,
  who   text not null,
  note  text not null default ''
);
create index break_events_break on break_events (break, id);
insert into break_events (break, at, what, who, note) select id, opened_at, 'opened', 'recon', detail from breaks;
insert into break_events (break, at, what, who, note) select id, closed_at, state, closed_by, close_reason from breaks where closed_at is not null;

-- A succeeded payment lets us expect a line on its channel's statement: in when it
-- succeeds, out when the line has come. So the table is as small as what is awaited.
create table expectations (
  payment    bigint primary key,
  tenant     integer not null,
  channel    text not null,
  reference  text not null,
  direction  smallint not null,
  asset      text not null,
  amount     numeric not null,
  since      timestamptz not null,
  due_at     timestamptz not null,
  missed     boolean not null default false
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);
create index expectations_due on expectations (channel, due_at, payment) where not missed;
comment on column expectations.since is 'when the channel said that the money had moved';
comment on column expectations.due_at is 'by when its statement should show it, by the channel''s calendar';

-- When each channel was last reconciled to its end.
create table recon_runs (
  channel     text primary key,
  finished_at timestamptz not null,
  lines       bigint not null
) with (fillfactor = 50);

create index statement_lines_line on statement_lines (channel, line_id);

drop view facts.breaks;
create view facts.breaks as
  select id, class, channel, payment, reference, line, asset, amount as value, state, owner, severity, detail,
         opened_at, closed_at, closed_by, close_reason
    from public.breaks;
comment on view facts.breaks is 'every difference between a channel''s statement and the ledger; age is now() - opened_at while state is open';
create view facts.break_events as select id, break, at, what, who, note from public.break_events;
create view facts.expectations as
  select payment, tenant, channel, reference, direction, asset, amount as value, since, due_at, missed from public.expectations;
comment on view facts.expectations is 'succeeded payments whose line the channel''s statement has not shown; overdue where due_at < now()';
create view facts.recon_runs as select channel, finished_at, lines from public.recon_runs;

grant select on facts.breaks, facts.break_events, facts.expectations, facts.recon_runs to moneta_facts, moneta_pay;
grant select, insert on break_events to moneta_pay;
grant select, insert, update, delete on expectations to moneta_pay;
grant select, insert, update on recon_runs to moneta_pay;
grant usage on all sequences in schema public to moneta_pay;

-- +goose Down
drop view facts.recon_runs, facts.expectations, facts.break_events, facts.breaks;
drop index statement_lines_line;
drop table recon_runs, expectations, break_events;
drop index breaks_one, breaks_open, breaks_untriaged;
alter table breaks drop column line, drop column owner, drop column severity, drop column state, drop column closed_by, drop column close_reason,
  add constraint breaks_class_channel_reference_key unique (class, channel, reference);
create view facts.breaks as
  select id, class, channel, payment, reference, asset, amount, detail, opened_at, closed_at from public.breaks;
grant select on facts.breaks to moneta_facts, moneta_pay;
