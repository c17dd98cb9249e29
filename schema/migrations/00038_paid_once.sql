-- What makes up for a break is paid once, whoever proposes it and whatever crashes: what
-- the ledger has is asked, and not only what became of the approval.
-- +goose Up

create index breaks_payment on breaks (payment) where payment is not null;

-- The downgrade below 36 disabled every service; nobody else is 'schema'.
alter table operators disable trigger operators_guard;
update operators set disabled_at = null, disabled_by = null where role = 'service' and disabled_by = 'schema';
alter table operators enable trigger operators_guard;

-- +goose StatementBegin
create or replace function owes(of_tenant integer, p jsonb) returns boolean language sql stable as $$
  select exists (select from breaks b join payments q on q.id = b.payment
    where b.id::text = p ->> 'break' and b.closed_at is null and q.tenant = of_tenant
      and b.asset = p ->> 'asset' and b.amount::text = p ->> 'amount' and p ->> 'link' = 'break ' || b.id
      and not exists (select from payments l where l.original = q.id)
      and not exists (select from breaks o where o.payment = q.id and o.id <> b.id and o.closed_at is null)
      and not exists (select from breaks o join payments l on l.kind = 13 and l.link = 'break ' || o.id where o.payment = q.id))
$$;
-- +goose StatementEnd

-- What an approval would pay for: the break, the case or the payment that it names, and
-- the payment of that break.
-- +goose StatementBegin
create function pays_for(p jsonb) returns text[] language sql stable as $$
  select array_remove(array[p ->> 'link', p ->> 'payment', (select 'of ' || b.payment from breaks b
    where p ->> 'link' ~ '^break [1-9][0-9]{0,17}$' and b.id = substr(p ->> 'link', 7)::bigint)], null)
$$;
-- +goose StatementEnd

-- Whether the ledger has what an approval of this id stands for. 3 is a refusal that is
-- repeated.
-- +goose StatementBegin
create function carried_out(approval uuid) returns boolean language sql stable as $$
  select exists (select from keys k where k.key = approval and k.kind <> 3)
$$;
-- +goose StatementEnd

-- The other approval, of a person where this is a service's and the other way round, that
-- pays for the same, or has.
-- +goose StatementBegin
create function rival(of_tenant integer, of_kind text, p jsonb) returns uuid language sql stable as $$
  select a.id from approvals a where a.tenant = of_tenant
     and a.kind = case of_kind when 'compensate' then 'compensate_break' when 'compensate_break' then 'compensate' end
     and pays_for(a.parameters::jsonb) && pays_for(p)
     and (a.state in ('proposed', 'approved') and a.expires_at > clock_timestamp()
       or a.state = 'used' and a.outcome is distinct from 'refused' or carried_out(a.id))
   order by a.seq limit 1
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function approvals_pay_once() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and (old.state = 'used' and new.state <> 'used' or new.outcome = 'refused' and old.outcome is null) and carried_out(new.id) then
    raise exception 'it was carried out: it stays used, and its outcome is that' using errcode = 'MO001';
  end if;
  if new.kind in ('compensate', 'compensate_break') and (tg_op = 'INSERT' or new.state = 'used' and old.state <> 'used') then
    perform pg_advisory_xact_lock(hashtextextended('compensations', new.tenant));
    if rival(new.tenant, new.kind, new.parameters::jsonb) is not null then
      raise exception 'another approval makes up for the same' using errcode = 'MO001';
    end if;
  end if;
  return new;
end $$;
-- +goose StatementEnd
create trigger approvals_pay_once before insert or update on approvals for each row execute function approvals_pay_once();

-- +goose Down
drop trigger approvals_pay_once on approvals;
drop function approvals_pay_once, rival, carried_out, pays_for;
-- +goose StatementBegin
create or replace function owes(of_tenant integer, p jsonb) returns boolean language sql stable as $$
  select exists (select from breaks b join payments q on q.id = b.payment
    where b.id::text = p ->> 'break' and b.closed_at is null and q.tenant = of_tenant
      and b.asset = p ->> 'asset' and b.amount::text = p ->> 'amount' and p ->> 'link' = 'break ' || b.id)
$$;
-- +goose StatementEnd
drop index breaks_payment;
