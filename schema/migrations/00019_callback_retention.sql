-- Callbacks do not stay for ever: those that are judged go after a while, and of
-- those that do not verify only so many are kept. Both logs of what is found in
-- facts.callbacks lose their old end; ids still rise, with gaps.
-- +goose Up
grant delete on inbox to moneta_pay;
create index inbox_unverified on inbox (channel, id) where verdict in ('forged', 'stale');

-- +goose Down
drop index inbox_unverified;
revoke delete on inbox from moneta_pay;
