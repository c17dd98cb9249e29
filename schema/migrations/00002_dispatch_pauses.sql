-- Dispatch is paused after a restore: the outside knows payments that the
-- restored ledger does not. One row a restore; the newest tells which ids the lost
-- time may have used, for as long as anybody can still quote them.
-- +goose Up
create table dispatch_pauses (
  id            bigint generated always as identity primary key,
  reason        text not null,
  restored_to   timestamptz not null,
  last_payment  bigint not null,
  next_payment  bigint not null check (next_payment >= last_payment),
  paused_at     timestamptz not null default now(),
  resumed_at    timestamptz,
  resumed_by    text,
  resume_reason text,
  check ((resumed_at is null) = (resumed_by is null) and (resumed_at is null) = (resume_reason is null))
);
create unique index dispatch_pauses_one on dispatch_pauses ((true)) where resumed_at is null;
comment on column dispatch_pauses.last_payment is 'newest payment id that the restored ledger has';
comment on column dispatch_pauses.next_payment is 'ids up to here are left to payments that were lost; new payments begin above';
grant select, update on dispatch_pauses to moneta_pay;

-- +goose Down
drop table dispatch_pauses;
