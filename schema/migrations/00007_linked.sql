-- Refunds, returns, chargebacks, late outcomes, money without an intent and
-- compensations are payments linked to an original; what outside of the ledger they
-- rest on is kept with them.
-- +goose Up
alter table payments add column link text;
comment on column payments.link is 'the channel''s id of a return, chargeback or statement line, the reference of a late attempt, or the break or incident compensated; null for kinds that rest on nothing outside';
comment on column payments.original is 'the payment that this one is linked to; null for what stands alone';
comment on column payments.expires_at is 'when the rest of a hold goes back, or an unpaid deposit is over; null for other kinds';

-- +goose Down
alter table payments drop column link;
