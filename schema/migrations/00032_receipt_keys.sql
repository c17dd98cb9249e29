-- The keys that receipts were ever signed with. A node whose key file lacks one of them
-- signs nothing: who verifies must find every key wherever he asks.
-- +goose Up
create table receipt_keys (
  kid           text primary key check (length(kid) = 43),
  public_key    bytea not null check (octet_length(public_key) = 32),
  first_used_at timestamptz not null default now()
);
grant select, insert on receipt_keys to moneta_pay;

-- +goose Down
drop table receipt_keys;
