-- What a break owes is all that the payment has cost its holder: its amount and our fee.
-- +goose Up
-- +goose StatementBegin
create or replace function owes(of_tenant integer, p jsonb) returns boolean language sql stable as $$
  select exists (select from breaks b join payments q on q.id = b.payment
    where b.id::text = p ->> 'break' and b.closed_at is null and q.tenant = of_tenant
      and b.asset = p ->> 'asset' and (b.amount + q.fee)::text = p ->> 'amount' and p ->> 'link' = 'break ' || b.id
      and not exists (select from payments l where l.original = q.id)
      and not exists (select from breaks o where o.payment = q.id and o.id <> b.id and o.closed_at is null)
      and not exists (select from breaks o join payments l on l.kind = 13 and l.link = 'break ' || o.id where o.payment = q.id))
$$;
-- +goose StatementEnd

-- +goose Down
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
