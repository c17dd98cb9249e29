-- How much a key may do: so many in so many seconds, writes and reads apart. Zero
-- does not limit.
-- +goose Up
alter table api_keys
  add column writes_quota    integer not null default 0,
  add column writes_window_s integer not null default 0,
  add column reads_quota     integer not null default 0,
  add column reads_window_s  integer not null default 0;

-- +goose Down
alter table api_keys drop column writes_quota, drop column writes_window_s, drop column reads_quota, drop column reads_window_s;
