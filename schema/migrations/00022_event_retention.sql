-- The ids of channels' events outlive their callbacks, and not by years: they go by
-- age, which an index of its own finds. It grows at its end only.
--
-- The logs of money are analysed when a fifth of them is new, not a fiftieth: what
-- their columns look like does not change, and under load the four of them took a
-- second of a processor every fifteen.
-- +goose Up
create index inbox_events_at on inbox_events (at);
grant delete on inbox_events to moneta_pay;
alter table payments set (autovacuum_analyze_scale_factor = 0.2);
alter table transfers set (autovacuum_analyze_scale_factor = 0.2);
alter table transitions set (autovacuum_analyze_scale_factor = 0.2);
alter table keys set (autovacuum_analyze_scale_factor = 0.2);

-- +goose Down
alter table keys reset (autovacuum_analyze_scale_factor);
alter table transitions reset (autovacuum_analyze_scale_factor);
alter table transfers reset (autovacuum_analyze_scale_factor);
alter table payments reset (autovacuum_analyze_scale_factor);
revoke delete on inbox_events from moneta_pay;
drop index inbox_events_at;
