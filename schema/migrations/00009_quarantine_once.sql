-- A Fact that cannot be committed even alone is put aside once: what drives the
-- payment offers the same step again and again.
-- +goose Up
alter table quarantine add column key uuid, add column step text;
comment on column quarantine.key is 'idempotency key of the request; null for a step of a payment that is there';
comment on column quarantine.step is 'the step of the payment, and its attempt';
create unique index quarantine_step on quarantine (payment, step) where step is not null;

-- +goose Down
drop index quarantine_step;
alter table quarantine drop column key, drop column step;
