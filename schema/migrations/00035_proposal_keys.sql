-- The keys under which people proposed: the same key of the same person is the same
-- proposal, however often its answer was lost.
-- +goose Up
create table proposal_keys (
  tenant   integer not null,
  maker    text not null,
  key      text not null check (length(key) between 1 and 255),
  approval uuid not null references approvals,
  primary key (tenant, maker, key)
);
grant select, insert on proposal_keys to moneta_pay;

-- +goose Down
drop table proposal_keys;
