-- A machine that proposes: operators of the role service have no way to sign in, propose
-- nothing but what makes up for an open break, and decide nothing. What one proposed takes
-- two people who may approve: the endorser first, then the checker. All of it holds
-- against the pay plane's own role.
-- +goose Up
alter table operators drop constraint operators_role_check;
alter table operators
  add constraint operators_role_check check (role in ('viewer', 'operator', 'approver', 'admin', 'service')),
  add constraint operators_service check (role <> 'service' or num_nonnulls(public_key, pass_prefix, pass_hash, totp_sealed, invite_prefix, invite_hash) = 0);

alter table approvals
  add column endorser          text references operators,
  add column endorsed_at       timestamptz,
  add column endorse_method    text check (endorse_method in ('ed25519', 'totp', 'passkey')),
  add column endorse_key       bytea,
  add column endorse_signature bytea,
  add constraint approvals_endorsed check (num_nonnulls(endorser, endorsed_at, endorse_method) in (0, 3)),
  add constraint approvals_two_people check (endorser <> maker and (endorser <> checker or state = 'rejected'));
comment on column approvals.endorser is 'the first of the two people who agree with what a service proposed; null for what a person proposed';

-- One proposal a break: while it stands, and for good once it was carried out.
create unique index approvals_one_a_break on approvals ((parameters::jsonb ->> 'break'))
  where kind = 'compensate_break' and (state in ('proposed', 'approved') or (state = 'used' and outcome is distinct from 'refused'));

-- +goose StatementBegin
create function is_service(who text) returns boolean language sql stable as $$
  select exists (select from operators where name = who and role = 'service')
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function owes(of_tenant integer, p jsonb) returns boolean language sql stable as $$
  select exists (select from breaks b join payments q on q.id = b.payment
    where b.id::text = p ->> 'break' and b.closed_at is null and q.tenant = of_tenant
      and b.asset = p ->> 'asset' and b.amount::text = p ->> 'amount' and p ->> 'link' = 'break ' || b.id)
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function people_sign_in() returns trigger language plpgsql as $$
begin
  if is_service(new.operator) then
    raise exception 'a service does not sign in' using errcode = 'MO001';
  end if;
  return new;
end $$;
-- +goose StatementEnd
create trigger people_sign_in before insert on operator_sessions for each row execute function people_sign_in();
create trigger people_sign_in before insert on operator_passkeys for each row execute function people_sign_in();

-- +goose StatementBegin
create or replace function approvals_guard() returns trigger language plpgsql as $$
declare
  machine boolean := is_service(new.maker);
begin
  if is_service(new.checker) or is_service(new.endorser) or is_service(new.used_by) then
    raise exception 'a service proposes; people decide, and carry out' using errcode = 'MO001';
  end if;
  if machine <> (new.kind = 'compensate_break') then
    raise exception 'a service proposes what makes up for a break, and nobody else does so in this way' using errcode = 'MO001';
  end if;
  if tg_op = 'INSERT' then
    if new.state <> 'proposed' or new.checker is not null or new.endorser is not null or not exists (select from operators
         where name = new.maker and tenant = new.tenant and role <> 'viewer' and disabled_at is null) then
      raise exception 'an approval begins as the proposal of an operator' using errcode = 'MO001';
    end if;
    if machine and not owes(new.tenant, new.parameters::jsonb) then
      raise exception 'there is no such open break that owes so much' using errcode = 'MO001';
    end if;
    return new;
  end if;
  if (new.id, new.tenant, new.kind, new.parameters, new.reason, new.hash, new.maker, new.made_at, new.expires_at) is distinct from
     (old.id, old.tenant, old.kind, old.parameters, old.reason, old.hash, old.maker, old.made_at, old.expires_at)
     or ((old.endorser is not null or old.state <> 'proposed') and (new.endorser, new.endorsed_at, new.endorse_method, new.endorse_key, new.endorse_signature)
       is distinct from (old.endorser, old.endorsed_at, old.endorse_method, old.endorse_key, old.endorse_signature))
     or (old.state <> 'proposed' and (new.checker, new.checked_at, new.check_method, new.check_key, new.check_signature)
       is distinct from (old.checker, old.checked_at, old.check_method, old.check_key, old.check_signature))
     or (old.state = 'used' and new.state = 'used' and (new.used_by, new.used_at) is distinct from (old.used_by, old.used_at))
     or old.finished_at is not null then
    raise exception 'what was proposed and decided stays as it is' using errcode = 'MO001';
  end if;
  if new.endorser is distinct from old.endorser and (not machine or new.state <> 'proposed' or new.endorse_method is null
       or new.expires_at <= clock_timestamp() or not may_approve(new.endorser, new.tenant)) then
    raise exception 'somebody who may approve agrees first with what a service proposes, and somebody else after that' using errcode = 'MO001';
  end if;
  if new.state = old.state then
    return new;
  end if;
  if not (old.state = 'proposed' and new.state in ('approved', 'rejected', 'expired', 'withdrawn')
       or old.state = 'approved' and new.state in ('used', 'expired', 'withdrawn')
       or old.state = 'used' and new.state = 'approved') then
    raise exception 'an approval does not go from % to %', old.state, new.state using errcode = 'MO001';
  end if;
  if new.state in ('approved', 'used') and (new.expires_at <= clock_timestamp() or new.check_method is null
       or not may_approve(new.checker, new.tenant)
       or not exists (select from operators where name = new.maker and tenant = new.tenant and disabled_at is null)) then
    raise exception 'it has expired, or one of its two people is not active' using errcode = 'MO001';
  end if;
  if machine and new.state in ('approved', 'used') and (new.endorser is null or new.endorser = new.checker or not may_approve(new.endorser, new.tenant)) then
    raise exception 'what a service proposed takes two people' using errcode = 'MO001';
  end if;
  if machine and new.state = 'used' and not owes(new.tenant, new.parameters::jsonb) then
    raise exception 'the break is closed, or has changed' using errcode = 'MO001';
  end if;
  return new;
end $$;
-- +goose StatementEnd

-- +goose Down
drop trigger people_sign_in on operator_sessions;
drop trigger people_sign_in on operator_passkeys;
drop function people_sign_in;
-- +goose StatementBegin
create or replace function approvals_guard() returns trigger language plpgsql as $$
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
     or (old.state = 'used' and new.state = 'used' and (new.used_by, new.used_at) is distinct from (old.used_by, old.used_at))
     or old.finished_at is not null then
    raise exception 'what was proposed and decided stays as it is' using errcode = 'MO001';
  end if;
  if new.state = old.state then
    return new;
  end if;
  if not (old.state = 'proposed' and new.state in ('approved', 'rejected', 'expired', 'withdrawn')
       or old.state = 'approved' and new.state in ('used', 'expired', 'withdrawn')
       or old.state = 'used' and new.state = 'approved') then
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
update approvals set state = 'withdrawn' where kind = 'compensate_break' and state in ('proposed', 'approved');
update operators set disabled_at = now(), disabled_by = 'schema' where role = 'service' and disabled_at is null;
drop index approvals_one_a_break;
alter table approvals drop constraint approvals_two_people, drop constraint approvals_endorsed,
  drop column endorser, drop column endorsed_at, drop column endorse_method, drop column endorse_key, drop column endorse_signature;
drop function owes, is_service;
alter table operators drop constraint operators_service, drop constraint operators_role_check;
alter table operators add constraint operators_role_check check (role in ('viewer', 'operator', 'approver', 'admin')) not valid;
