-- +goose Up
-- What two people may name is an attempt of which its channel has said that it executed
-- it: that it has taken it, or has sent it back, is no such word.
alter table breaks add column executed boolean not null default false;
comment on column breaks.executed is 'the channel said, by reply, query or callback, that it executed what the reference names';
-- Lines that settled nothing are looked through by each run.
create index statement_lines_wrong_state on statement_lines (channel, id) where outcome = 'wrong_state';

-- +goose Down
drop index statement_lines_wrong_state;
alter table breaks drop column executed;
