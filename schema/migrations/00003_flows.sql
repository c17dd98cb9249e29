-- Linked payments: a capture names the hold that it takes from. What a hold has
-- left is its amount less the captures that name it; nothing else keeps count.
-- +goose Up
alter table payments add column original bigint, add column expires_at timestamptz;
comment on column payments.original is 'the payment that this one takes from; null for what stands alone';
comment on column payments.expires_at is 'when the rest of a hold goes back; null for other kinds';
create index payments_original on payments (original) where original is not null;

-- +goose Down
drop index payments_original;
alter table payments drop column original, drop column expires_at;
