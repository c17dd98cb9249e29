-- The histories under which a shard's log was written. A failover or a restore
-- begins a new one: what was acknowledged last may be missing, and its ids were
-- seen outside. They are left out, so that none ever names something else, and a
-- reader whose cursor lies among them knows that it read what is no more.
-- +goose Up
create table timelines (
  shard      smallint not null,
  n          integer not null,
  system     bigint not null,
  timeline   integer not null,
  lost_after bigint not null,
  begins     bigint not null check (begins > lost_after),
  began_at   timestamptz not null default clock_timestamp(),
  primary key (shard, n)
);
comment on column timelines.system is 'system identifier of the database cluster';
comment on column timelines.timeline is 'timeline of its write-ahead log: a promotion begins a new one';
comment on column timelines.lost_after is 'last transition that the new history has of the old one';
comment on column timelines.begins is 'transitions of this history have this id or a higher one';
grant select on timelines to moneta_pay;

-- +goose Down
drop table timelines;
