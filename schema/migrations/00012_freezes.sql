-- A freeze refuses debits, or everything new; who, when and why is kept for every
-- change of an account, in the transaction that makes it.
-- +goose Up
alter table accounts
  add column frozen_all    boolean not null default false,
  add column freeze_reason text not null default '';
comment on column accounts.frozen is 'debits are refused';
comment on column accounts.frozen_all is 'new credits are refused too';

create table account_changes (
  id         bigint generated always as identity primary key,
  account    bigint not null,
  floor      numeric,
  frozen     boolean not null,
  frozen_all boolean not null,
  reason     text not null,
  by         text not null,
  at         timestamptz not null
);
create index account_changes_account on account_changes (account, id);
comment on table account_changes is 'append only: how an account stands after each change of its floor or its freeze';
grant select, insert on account_changes to moneta_pay;
grant usage on all sequences in schema public to moneta_pay;

create view facts.account_changes as
  select id, account, floor, frozen, frozen_all, reason, by, at from public.account_changes;
grant select on facts.account_changes to moneta_facts, moneta_pay;

-- +goose Down
drop view facts.account_changes;
drop table account_changes;
alter table accounts drop column frozen_all, drop column freeze_reason;
