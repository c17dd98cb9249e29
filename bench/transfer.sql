-- One transfer a transaction, for pgbench: what a person would write first. The two
-- accounts' rows are taken in the order of their ids, or opposite transfers would
-- deadlock; the table's check keeps a balance from falling below zero.
\set from random(1, :accounts)
\set to 1 + (:from - 1 + random(1, :accounts - 1)) % :accounts
\set amount random(1, 100)
\set low least(:from, :to)
\set high greatest(:from, :to)
\set below case when :from < :to then -:amount else :amount end
begin;
insert into transfers (key, debit, credit, amount) values (gen_random_uuid(), :from, :to, :amount);
update accounts set balance = balance + :below where id = :low;
update accounts set balance = balance - :below where id = :high;
commit;
