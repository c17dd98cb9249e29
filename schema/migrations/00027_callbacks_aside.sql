-- A callback that cannot be applied is set aside, with who did it and why; those behind
-- it are applied. Its bytes stay in inbox. Until somebody ends it, by a replay or by
-- giving it up, it is not deleted however old.
-- +goose Up
create table callbacks_aside (
  id          bigint generated always as identity primary key,
  inbox       bigint not null,
  channel     text not null,
  received_at timestamptz not null,
  aside_at    timestamptz not null,
  "by"        text not null check ("by" <> ''),
  reason      text not null check (reason <> ''),
  ended_at    timestamptz,
  ended_as    text check (ended_as in ('replayed', 'given_up')),
  ended_by    text,
  end_reason  text,
  check (num_nonnulls(ended_at, ended_as, ended_by, end_reason) in (0, 4))
);
create unique index callbacks_aside_open on callbacks_aside (inbox) where ended_at is null;
comment on table callbacks_aside is 'which callbacks were set aside, by whom and why, and what became of them';
comment on column callbacks_aside.inbox is 'the row that has its bytes; of one that was given up long ago they are gone';
grant select, insert, update on callbacks_aside to moneta_pay;

alter table case_origins drop constraint case_origins_origin_check;
alter table case_origins add constraint case_origins_origin_check check (origin in ('break', 'quarantine', 'callback'));

create view facts.callbacks_aside as
  select inbox as callback, channel, received_at, aside_at, "by", reason from public.callbacks_aside where ended_at is null;
comment on view facts.callbacks_aside is 'callbacks that were set aside and wait for a person';
grant select on facts.callbacks_aside to moneta_facts, moneta_pay;

-- +goose Down
drop view facts.callbacks_aside;
delete from case_origins where origin = 'callback';
alter table case_origins drop constraint case_origins_origin_check;
alter table case_origins add constraint case_origins_origin_check check (origin in ('break', 'quarantine'));
update inbox set applied_at = null, verdict = null where verdict = 'aside';
drop table callbacks_aside;
