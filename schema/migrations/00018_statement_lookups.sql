-- +goose Up
-- What tells lines apart comes first: a plan that was made while the table was empty
-- then has no index by which to read a channel's whole history for one line.
create index statement_lines_by_reference on statement_lines (reference, channel);
create index statement_lines_by_line on statement_lines (line_id, channel);
drop index statement_lines_reference, statement_lines_line;

-- +goose Down
create index statement_lines_reference on statement_lines (channel, reference);
create index statement_lines_line on statement_lines (channel, line_id);
drop index statement_lines_by_reference, statement_lines_by_line;
