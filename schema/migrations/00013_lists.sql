-- Payments that ended without money moving are few; lists of them do not look
-- through all the others.
-- +goose Up
create index transitions_unhappy on transitions (payment) where to_state in (7, 8, 9) and from_state <> to_state;
comment on index transitions_unhappy is '7 failed, 8 cancelled, 9 expired';

-- +goose Down
drop index transitions_unhappy;
