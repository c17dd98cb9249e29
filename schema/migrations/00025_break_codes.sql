-- Why a break was closed, in a word that can be counted.
-- +goose Up
alter table breaks add column close_code text;
comment on column breaks.close_code is 'channel_corrected, posted, recovered, written_off, fee_accepted, timing, test, not_ours, other; null: open, or recon closed it';

-- +goose Down
alter table breaks drop column close_code;
