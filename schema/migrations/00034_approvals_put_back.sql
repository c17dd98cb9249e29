-- +goose Up
-- A used approval of which is known that nothing came of it, because a lever refused it,
-- is approved again, while its time lasts: its people decide what becomes of it. One with
-- an outcome stays as it is for ever, and the two people are looked at once more.
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

-- +goose Down
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
