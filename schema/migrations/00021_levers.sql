-- Levers: what somebody held back on purpose, and let go again. Changes are only
-- appended; every node reads several times a second what has not ended.
-- +goose Up
create table lever_changes (
  id         bigint generated always as identity primary key,
  lever_id   uuid not null,
  change     text not null check (change in ('pull', 'undo')),
  lever      text,
  aim        text,
  value      text,
  value_zh   text,
  owner      text check (owner <> ''),
  reason     text not null check (reason <> ''),
  by         text not null check (by <> ''),
  via        text not null check (via in ('api', 'file')),
  at         timestamptz not null,
  expires_at timestamptz,
  recorded_at timestamptz not null default clock_timestamp(),
  unique (lever_id, change),
  check ((change = 'pull') = (lever is not null and aim is not null and value is not null and value_zh is not null
    and owner is not null and expires_at is not null)),
  check (expires_at > at and expires_at <= at + interval '24 hours')
);
create index lever_changes_ends on lever_changes (expires_at) where change = 'pull';
comment on column lever_changes.lever_id is 'names the pull; its undo has the same';
comment on column lever_changes.by is 'who: a person, a key, or a user of a node''s machine';
comment on column lever_changes.via is 'api, or a file on a node''s machine while API or database were gone';
grant select, insert on lever_changes to moneta_pay;
grant usage on all sequences in schema public to moneta_pay;

create view facts.levers as
  select p.lever_id as id, p.lever, p.aim, p.value, p.owner, p.reason, p.by, p.via, p.at as pulled_at, p.expires_at,
         u.at as undone_at, u.by as undone_by, u.reason as undo_reason
    from public.lever_changes p left join public.lever_changes u on u.lever_id = p.lever_id and u.change = 'undo'
   where p.change = 'pull';
comment on view facts.levers is 'every lever that was ever pulled; one holds until expires_at unless undone_at is set';
grant select on facts.levers to moneta_facts, moneta_pay;

-- +goose Down
drop view facts.levers;
drop table lever_changes;
