-- Compensations are few. Those that name a break are found by it, and recon looks at all
-- of them. Built beside those who write: a plain build holds the payments for as long as it
-- reads them, and the decider waits for no lock longer than five seconds.
-- +goose NO TRANSACTION
-- +goose Up
drop index concurrently if exists payments_compensations; -- what a build that was cut off has left
create index concurrently payments_compensations on payments (link) where kind = 13;

-- +goose Down
drop index concurrently if exists payments_compensations;
