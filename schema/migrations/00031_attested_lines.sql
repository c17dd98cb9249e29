-- +goose Up
-- A line that contradicted what we knew settles its payment after all when two people
-- have named its attempt: what became of it is written anew, what it says never is.
grant update (outcome) on statement_lines to moneta_pay;

-- +goose Down
revoke update (outcome) on statement_lines from moneta_pay;
