-- What an endpoint of webhooks has not taken: how many wait, how many were given up.
-- +goose Up
create index webhook_deliveries_given_up on webhook_deliveries (endpoint, created_at) where state = 3;
create or replace view facts.webhooks as
  select e.id as endpoint, e.tenant, e.state, e.failing_since, e.behind,
         (select min(d.created_at) from public.webhook_deliveries d where d.endpoint = e.id and d.state = 1) as oldest_pending,
         (select count(*) from (select from public.webhook_deliveries d where d.endpoint = e.id and d.state = 1 limit 10001) p) as pending,
         (select count(*) from (select from public.webhook_deliveries d where d.endpoint = e.id and d.state = 3 limit 10001) g) as given_up,
         (select min(d.created_at) from public.webhook_deliveries d where d.endpoint = e.id and d.state = 3) as oldest_given_up,
         e.state_reason as reason
    from public.webhook_endpoints e where e.state <> 3;

-- +goose Down
drop view facts.webhooks;
create view facts.webhooks as
  select e.id as endpoint, e.tenant, e.state, e.failing_since, e.behind,
         (select min(d.created_at) from public.webhook_deliveries d where d.endpoint = e.id and d.state = 1) as oldest_pending
    from public.webhook_endpoints e where e.state <> 3;
grant select on facts.webhooks to moneta_facts, moneta_pay;
drop index webhook_deliveries_given_up;
