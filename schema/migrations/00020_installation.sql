-- Who runs the installation is not every tenant's admin. One tenant is the
-- installation's: its people see and do what concerns every tenant, and of the keys
-- those that have the scope. Until now each admin key did: those of the first
-- tenant go on, the others must be made anew with the scope by whoever has the
-- database.
-- +goose Up
alter table tenants add column installation boolean not null default false;
comment on column tenants.installation is 'its people run the installation; one tenant at most';
update tenants set installation = true where id = (select min(id) from tenants);
create unique index tenants_installation on tenants (installation) where installation;
update api_keys set scopes = array_append(scopes, 'installation')
 where 'admin' = any (scopes) and tenant = (select id from tenants where installation) and revoked_at is null;

-- +goose Down
update api_keys set scopes = array_remove(scopes, 'installation');
alter table tenants drop column installation;
