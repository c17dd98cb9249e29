-- The doctor's role: it sees what sessions do and may end one, and it reads the facts.
-- It writes nothing, and least of all money. Where whoever migrates may not grant what
-- belongs to the server, the role is there without it; docs/runbooks.md says what the
-- doctor cannot do then.
-- +goose Up
-- +goose StatementBegin
do $$
begin
  if not exists (select from pg_roles where rolname = 'moneta_doctor') then
    create role moneta_doctor nologin;
  end if;
exception when duplicate_object or unique_violation then null;
end $$;
-- +goose StatementEnd
-- +goose StatementBegin
do $$
declare
  wanted text;
begin
  foreach wanted in array array['moneta_facts', 'pg_monitor', 'pg_signal_backend'] loop
    begin
      if not pg_has_role('moneta_doctor', wanted, 'member') then
        execute format('grant %I to moneta_doctor', wanted);
      end if;
    exception
      when insufficient_privilege then raise notice 'moneta_doctor is without %: grant it as a superuser', wanted;
      when unique_violation then null;
    end;
  end loop;
end $$;
-- +goose StatementEnd
-- +goose Down
-- A role belongs to the cluster, and other databases may use it.
select 1;
