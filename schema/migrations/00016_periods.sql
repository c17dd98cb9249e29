-- Closed periods: from the row's commit on, no transfer of the tenant and asset may be
-- effective before until. The decider writes it, in the order of its batches; the hash
-- of the trial balance, which cannot change any more, is added afterwards.
-- +goose Up
create table periods (
  tenant        integer not null,
  asset         text not null,
  until         timestamptz not null,
  closed_at     timestamptz not null,
  closed_by     text not null,
  last_transfer bigint not null,
  hash          bytea,
  sealed_at     timestamptz,
  primary key (tenant, asset, until)
);
comment on column periods.until is 'the first instant that is still open';
comment on column periods.hash is 'SHA-256 of the trial balance by value date until then; null until it is sealed';
create view facts.periods as select tenant, asset, until, closed_at, closed_by, last_transfer, hash, sealed_at from public.periods;
grant select on facts.periods to moneta_facts, moneta_pay;
grant select, insert on periods to moneta_pay;
grant update (hash, sealed_at) on periods to moneta_pay;

-- +goose Down
drop view facts.periods;
drop table periods;
