-- People: named operators, what they did, and approvals by two of them. The rules
-- that make four eyes four stand here as well as in the code, because whoever
-- reaches the database in the pay plane's role must not be able to approve alone.
-- +goose Up
create table operators (
  name        text primary key check (name ~ '^[a-z][a-z0-9.-]{1,39}$'),
  tenant      integer not null references tenants,
  role        text not null check (role in ('viewer', 'operator', 'approver', 'admin')),
  public_key  bytea unique check (octet_length(public_key) = 32),
  pass_prefix text unique,
  pass_hash   bytea check (octet_length(pass_hash) = 32),
  totp_sealed bytea,
  totp_step   bigint not null default 0,
  failures    integer not null default 0,
  tried_at    timestamptz,
  created_by  text not null,
  approval    uuid unique,
  created_at  timestamptz not null default now(),
  disabled_at timestamptz,
  disabled_by text,
  check ((public_key is null) = (pass_prefix is not null)),
  check ((pass_prefix is null) = (pass_hash is null) and (pass_prefix is null) = (totp_sealed is null)),
  check ((disabled_at is null) = (disabled_by is null))
);
comment on column operators.public_key is 'ed25519; the private key is on the operator''s machine';
comment on column operators.totp_sealed is 'the secret of the codes, sealed under the pass, of which only a hash is here';
comment on column operators.totp_step is 'the newest 30-second step whose code was used: a code counts once';

-- Signed requests count once. A row lives longer than any node accepts its time.
create table operator_nonces (
  operator text not null,
  nonce    text not null,
  at       timestamptz not null default now(),
  primary key (operator, nonce)
);
create index operator_nonces_at on operator_nonces (at);

create table operator_sessions (
  prefix     text primary key,
  hash       bytea not null check (octet_length(hash) = 32),
  operator   text not null references operators,
  sealed     bytea not null,
  made_at    timestamptz not null default now(),
  expires_at timestamptz not null,
  ended_at   timestamptz
);
comment on column operator_sessions.sealed is 'the secret of the codes, sealed under this session''s token, of which only a hash is here';

-- What people asked for, before it was done, and how it ended: two rows.
create table operator_actions (
  id       bigint generated always as identity primary key,
  began    bigint references operator_actions,
  operator text not null,
  tenant   integer not null,
  action   text not null,
  subject  text not null,
  status   smallint,
  code     text,
  trace_id uuid,
  at       timestamptz not null default now(),
  check ((began is null) = (status is null))
);
create index operator_actions_tenant on operator_actions (tenant, id) where began is null;
create unique index operator_actions_end on operator_actions (began);

create table approvals (
  id              uuid primary key,
  seq             bigint generated always as identity unique,
  tenant          integer not null references tenants,
  kind            text not null,
  parameters      text not null,
  reason          text not null,
  hash            bytea not null check (octet_length(hash) = 32),
  maker           text not null references operators,
  made_at         timestamptz not null,
  expires_at      timestamptz not null check (expires_at > made_at and expires_at <= made_at + interval '24 hours'),
  state           text not null default 'proposed'
                  check (state in ('proposed', 'approved', 'used', 'rejected', 'expired', 'withdrawn')),
  checker         text references operators check (checker <> maker),
  checked_at      timestamptz,
  check_method    text check (check_method in ('ed25519', 'totp')),
  check_key       bytea,
  check_signature bytea,
  note            text,
  used_by         text references operators,
  used_at         timestamptz,
  held_until      timestamptz,
  finished_at     timestamptz,
  outcome         text check (outcome in ('done', 'refused')),
  result          text,
  check ((checker is null) = (checked_at is null)),
  check ((used_by is null) = (used_at is null) and (used_at is null) = (state <> 'used')),
  check ((finished_at is null) = (outcome is null)),
  check (finished_at is null or used_at is not null)
);
create index approvals_tenant on approvals (tenant, seq);
create index approvals_open on approvals (expires_at) where state in ('proposed', 'approved');
create index approvals_unfinished on approvals (used_at) where used_at is not null and finished_at is null;
comment on column approvals.parameters is 'canonical JSON, byte for byte what the hash covers';
comment on column approvals.held_until is 'until when the node that carries it out has the sole right to';

-- +goose StatementBegin
create function may_approve(person text, of_tenant integer) returns boolean language sql stable as $$
  select exists (select from operators where name = person and tenant = of_tenant
    and role in ('approver', 'admin') and disabled_at is null)
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function operators_guard() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' then
    if (new.name, new.tenant, new.role, new.created_by, new.created_at) is distinct from
       (old.name, old.tenant, old.role, old.created_by, old.created_at)
       or new.approval is distinct from old.approval
       or (old.disabled_at is not null and new.disabled_at is distinct from old.disabled_at) then
      raise exception 'an operator keeps name, tenant and role, and stays disabled' using errcode = 'MO001';
    end if;
    return new;
  end if;
  if new.role in ('approver', 'admin') then
    perform pg_advisory_xact_lock(77001534, new.tenant);
    if (select count(*) from operators where tenant = new.tenant and role in ('approver', 'admin') and disabled_at is null) >= 2
       and not exists (select from approvals a where a.id = new.approval and a.kind = 'add_operator' and a.state = 'used'
         and a.tenant = new.tenant and a.parameters::jsonb ->> 'name' = new.name and a.parameters::jsonb ->> 'role' = new.role) then
      raise exception 'another person who may approve needs an approval' using errcode = 'MO002';
    end if;
  end if;
  return new;
end $$;
-- +goose StatementEnd
create trigger operators_guard before insert or update on operators for each row execute function operators_guard();

-- +goose StatementBegin
create function approvals_guard() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    if new.state <> 'proposed' or new.checker is not null or not exists (select from operators
         where name = new.maker and tenant = new.tenant and role <> 'viewer' and disabled_at is null) then
      raise exception 'an approval begins as the proposal of an operator' using errcode = 'MO001';
    end if;
    return new;
  end if;
  if (new.id, new.tenant, new.kind, new.parameters, new.reason, new.hash, new.maker, new.made_at, new.expires_at) is distinct from
     (old.id, old.tenant, old.kind, old.parameters, old.reason, old.hash, old.maker, old.made_at, old.expires_at)
     or (old.state <> 'proposed' and (new.checker, new.checked_at, new.check_method, new.check_key, new.check_signature)
       is distinct from (old.checker, old.checked_at, old.check_method, old.check_key, old.check_signature))
     or (old.state = 'used' and (new.used_by, new.used_at) is distinct from (old.used_by, old.used_at))
     or old.finished_at is not null then
    raise exception 'what was proposed and decided stays as it is' using errcode = 'MO001';
  end if;
  if new.state = old.state then
    return new;
  end if;
  if not (old.state = 'proposed' and new.state in ('approved', 'rejected', 'expired', 'withdrawn')
       or old.state = 'approved' and new.state in ('used', 'expired', 'withdrawn')) then
    raise exception 'an approval does not go from % to %', old.state, new.state using errcode = 'MO001';
  end if;
  if new.state in ('approved', 'used') and (new.expires_at <= clock_timestamp() or new.check_method is null
       or not may_approve(new.checker, new.tenant)
       or not exists (select from operators where name = new.maker and tenant = new.tenant and disabled_at is null)) then
    raise exception 'it has expired, or one of its two people is not active' using errcode = 'MO001';
  end if;
  return new;
end $$;
-- +goose StatementEnd
create trigger approvals_guard before insert or update on approvals for each row execute function approvals_guard();

grant select, insert, update on operators, approvals, operator_sessions to moneta_pay;
grant select, insert, delete on operator_nonces to moneta_pay;
grant select, insert on operator_actions to moneta_pay;
grant usage on all sequences in schema public to moneta_pay;

-- +goose Down
drop table approvals, operator_actions, operator_sessions, operator_nonces, operators;
drop function approvals_guard, operators_guard, may_approve;
