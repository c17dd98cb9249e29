#!/usr/bin/env bash
# Measures the balance designs of docs/adr/0004 side by side on any scratch
# database: scripts/measure-balances.sh "host=/tmp/x user=postgres dbname=postgres"
# A: running balances and per-book sequences in append-only rows, no account UPDATE.
# B: append-only rows, and one balance UPDATE with a version per account and batch.
# C: as A with two bigints in place of each numeric.
set -euo pipefail
DSN=${1:?give a psql connection string of a scratch database}
P=(psql "$DSN" -qAt -v ON_ERROR_STOP=1)
"${P[@]}" <<'SQL'
set client_min_messages = warning;
drop table if exists ta, tb, tc, acc;
create table acc(id bigint primary key, version bigint not null default 0, bal numeric not null default 1000000) with (fillfactor=60);
insert into acc select g, 0, 1000000 from generate_series(1, 100000) g;
create table ta(id bigint primary key, payment bigint not null, debit bigint not null, credit bigint not null, amount numeric not null,
  debit_seq bigint not null, credit_seq bigint not null, debit_bal numeric not null, credit_bal numeric not null,
  effective_at timestamptz not null, booked_at timestamptz not null);
create unique index on ta(debit, debit_seq);
create unique index on ta(credit, credit_seq);
create table tb(id bigint primary key, payment bigint not null, debit bigint not null, credit bigint not null, amount numeric not null,
  effective_at timestamptz not null, booked_at timestamptz not null);
create index on tb(debit, id);
create index on tb(credit, id);
create table tc(id bigint primary key, payment bigint not null, debit bigint not null, credit bigint not null, ahi bigint not null, alo bigint not null,
  debit_seq bigint not null, credit_seq bigint not null, dhi bigint not null, dlo bigint not null, chi bigint not null, clo bigint not null,
  effective_at timestamptz not null, booked_at timestamptz not null);
create unique index on tc(debit, debit_seq);
create unique index on tc(credit, credit_seq);
create or replace procedure go(which text, batches int, base bigint, accounts int) language plpgsql as $$
declare b bigint; t0 timestamptz; d bigint[]; c bigint[]; i bigint[]; total interval := '0';
begin
 for k in 0..batches-1 loop
  b := base + k*2000;
  select array_agg(g), array_agg(1+floor(random()*accounts)::bigint), array_agg(1+floor(random()*accounts)::bigint)
    into i, d, c from generate_series(b, b+1999) g;
  t0 := clock_timestamp();
  if which = 'A' then
   insert into ta select x, x, dd, cc, 12345, x, x, 1000000, 1000000, now(), now() from unnest(i,d,c) u(x,dd,cc);
  elsif which = 'B' then
   insert into tb select x, x, dd, cc, 12345, now(), now() from unnest(i,d,c) u(x,dd,cc);
   update acc set bal = bal + s.v, version = version + 1
     from (select a, sum(v) v from (select unnest(d) a, -12345::numeric v union all select unnest(c), 12345) q group by a order by a) s
    where acc.id = s.a;
  else
   insert into tc select x, x, dd, cc, 0, 12345, x, x, 0, 1000000, 0, 1000000, now(), now() from unnest(i,d,c) u(x,dd,cc);
  end if;
  total := total + (clock_timestamp() - t0);
  commit;
 end loop;
 raise warning '% over % accounts: % us a transfer', which, accounts, round(extract(epoch from total)*1e6/(batches*2000), 1);
end $$;
SQL
base=1
for accounts in 100000 2; do
  for round in 1 2 3; do
    for which in A B C; do
      "${P[@]}" -c "call go('$which', 100, $base, $accounts)" 2>&1 | sed -n 's/.*WARNING:  //p'
    done
    base=$((base + 200000))
  done
done
"${P[@]}" -c "select relname, pg_table_size(oid) / 1200000 || ' B table', pg_indexes_size(oid) / 1200000 || ' B index a transfer' from pg_class where relname in ('ta','tb','tc')"
