-- What was shown of a channel, by whom and until when. Appended only: the newest row
-- of a channel and a capability holds, so that a failure takes a proof back.
-- +goose Up
create table channel_proofs (
  id         bigint generated always as identity primary key,
  channel    text not null,
  capability text not null,
  status     text not null check (status in ('proven', 'failed', 'not_claimed', 'not_shown')),
  detail     text not null default '',
  adapter    text not null,
  contract   text not null,
  endpoint   text not null,
  run        text not null,
  proven_at  timestamptz not null,
  expires_at timestamptz not null check (expires_at > proven_at)
);
create index channel_proofs_newest on channel_proofs (channel, capability, id desc);
comment on table channel_proofs is 'results of moneta channel test; only a proven dedup of the same adapter and contract lets an attempt be sent again';
comment on column channel_proofs.contract is 'fingerprint of all claims of the channel at the time of the test';
comment on column channel_proofs.endpoint is 'the test endpoint that was tested';
grant select, insert on channel_proofs to moneta_pay;
create view facts.channel_proofs as
  select distinct on (channel, capability) channel, capability, status, detail, adapter, contract, run, proven_at, expires_at
    from public.channel_proofs order by channel, capability, id desc;
grant select on facts.channel_proofs to moneta_facts;

-- +goose Down
drop view facts.channel_proofs;
drop table channel_proofs;
