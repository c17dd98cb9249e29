-- Webhooks: who is told what, and whether it arrived. The log of transitions is
-- read by one durable cursor; each event that an endpoint is to be told becomes a
-- row in the transaction that moves the cursor.
-- +goose Up
create table webhook_endpoints (
  id            bigint generated always as identity primary key,
  tenant        integer not null,
  url           text not null,
  description   text not null default '',
  secret        bytea not null,
  old_secret    bytea,
  old_until     timestamptz,
  state         smallint not null default 1,
  state_reason  text not null default '',
  behind        bigint,
  failing_since timestamptz,
  created_at    timestamptz not null default now(),
  changed_at    timestamptz not null default now()
) with (fillfactor = 70);
create index webhook_endpoints_tenant on webhook_endpoints (tenant, id) where state <> 3;
comment on column webhook_endpoints.state is '1 active, 2 disabled, 3 deleted';
comment on column webhook_endpoints.behind is 'last event that was queued, while it has to catch up with the cursor; null when it follows the cursor';

create table webhook_cursor (
  one      boolean primary key default true check (one),
  position bigint not null default 0
) with (fillfactor = 10);
insert into webhook_cursor (position) select coalesce(max(id), 0) from transitions;

create table webhook_deliveries (
  id          bigint generated always as identity primary key,
  endpoint    bigint not null,
  event       bigint,
  state       smallint not null default 1,
  tries       smallint not null default 0,
  next_at     timestamptz not null default now(),
  last_at     timestamptz,
  last_status smallint,
  last_error  text,
  created_at  timestamptz not null default now(),
  unique (endpoint, event)
) with (fillfactor = 70);
create index webhook_deliveries_due on webhook_deliveries (endpoint, next_at) where state = 1;
create index webhook_deliveries_list on webhook_deliveries (endpoint, id);
comment on column webhook_deliveries.state is '1 pending, 2 delivered, 3 given up';
comment on column webhook_deliveries.event is 'the transition that is told; null for a ping';

grant select, insert, update on webhook_endpoints, webhook_cursor to moneta_pay;
grant select, insert, update, delete on webhook_deliveries to moneta_pay;
grant usage on all sequences in schema public to moneta_pay;

create view facts.webhooks as
  select e.id as endpoint, e.tenant, e.state, e.failing_since, e.behind,
         (select min(d.created_at) from public.webhook_deliveries d where d.endpoint = e.id and d.state = 1) as oldest_pending
    from public.webhook_endpoints e where e.state <> 3;
comment on view facts.webhooks is 'endpoints of webhooks: since when they fail, and the oldest message that they still have to take';
grant select on facts.webhooks to moneta_facts, moneta_pay;

-- +goose Down
drop view facts.webhooks;
drop table webhook_deliveries, webhook_cursor, webhook_endpoints;
