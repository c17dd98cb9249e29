-- What a leader plays by of each channel, as far as who watches must know it to tell what
-- is usual from what is stuck.
-- +goose Up
create table channel_contracts (
  channel         text primary key,
  adapter         text not null,
  not_found_after interval check (not_found_after > interval '0'),
  told_at         timestamptz not null
);
comment on table channel_contracts is 'a row for each channel of the leader, written when it takes over';
comment on column channel_contracts.not_found_after is 'from when on a not-found proves that an order never executed; null: it never does';
grant select, insert, update, delete on channel_contracts to moneta_pay;
create view facts.channels as
  select channel, adapter, extract(epoch from not_found_after)::float8 as not_found_after_s, told_at from public.channel_contracts;
comment on view facts.channels is 'what is agreed with each channel, as the leader plays by it';
grant select on facts.channels to moneta_facts, moneta_pay;

-- +goose Down
drop view facts.channels;
drop table channel_contracts;
