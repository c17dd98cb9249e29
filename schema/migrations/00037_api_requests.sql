-- What the API answered, counted by day, key, operation, status and problem: nothing that
-- a caller wrote is in it, so that the number of rows is bounded by what there is to ask.
-- +goose Up
create table api_requests (
  tenant   integer not null,
  day      date not null,
  key      text not null,
  route    text not null,
  status   smallint not null,
  code     text not null,
  n        bigint not null,
  first_at timestamptz not null,
  last_at  timestamptz not null,
  trace    bytea check (octet_length(trace) = 16),
  primary key (tenant, day, key, route, status, code)
) with (fillfactor = 50);
comment on column api_requests.key is 'prefix of the API key; empty for people who have signed in';
comment on column api_requests.trace is 'of the newest refusal';
grant select, insert, update, delete on api_requests to moneta_pay;

-- +goose Down
drop table api_requests;
