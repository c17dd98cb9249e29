-- Signing in to the console: passkeys, invitations that are taken up once, and
-- sessions that end when nobody is there.
-- +goose Up
alter table operators drop constraint operators_check;
alter table operators
  add constraint operators_one_credential check (num_nonnulls(public_key, pass_prefix) <= 1),
  add column handle        uuid not null unique default gen_random_uuid(),
  add column invite_prefix text unique,
  add column invite_hash   bytea check (octet_length(invite_hash) = 32),
  add column invite_until  timestamptz,
  add constraint operators_invitation check (num_nonnulls(invite_prefix, invite_hash, invite_until) in (0, 3));
comment on column operators.handle is 'what an authenticator calls the person by; it says nothing about them';
comment on column operators.invite_hash is 'of a token that is shown once; whoever has it makes a credential, once, before invite_until';

create table operator_passkeys (
  id              bytea primary key check (octet_length(id) between 1 and 1023),
  operator        text not null references operators,
  public_key      bytea not null,
  sign_count      bigint not null,
  backup_eligible boolean not null,
  origin          text not null,
  label           text not null,
  made_at         timestamptz not null default now(),
  used_at         timestamptz,
  removed_at      timestamptz
);
create index operator_passkeys_operator on operator_passkeys (operator) where removed_at is null;
comment on column operator_passkeys.public_key is 'as the authenticator gave it (COSE); the private key never leaves it';
comment on column operator_passkeys.sign_count is 'what the authenticator counted last: one that counts back is a copy, and refused';
comment on column operator_passkeys.origin is 'the address of the console it was made at, and is good for';

alter table operator_sessions
  alter column sealed drop not null,
  add column method   text not null default 'totp' check (method in ('totp', 'passkey', 'ed25519')),
  add column seen_at  timestamptz not null default now(),
  add column client   text not null default '',
  add column ended_by text;
create index operator_sessions_open on operator_sessions (operator) where ended_at is null;
comment on column operator_sessions.expires_at is 'when it ends whatever is done in it';
comment on column operator_sessions.seen_at is 'when the person last did something, to some seconds: a session ends when they have not for 15 minutes';

alter table approvals drop constraint approvals_check_method_check;
alter table approvals add constraint approvals_check_method_check check (check_method in ('ed25519', 'totp', 'passkey'));
grant select, insert, update on operator_passkeys to moneta_pay;

-- +goose Down
alter table approvals drop constraint approvals_check_method_check;
alter table approvals add constraint approvals_check_method_check check (check_method in ('ed25519', 'totp'));
drop index operator_sessions_open;
delete from operator_sessions where sealed is null;
alter table operator_sessions drop column method, drop column seen_at, drop column client, drop column ended_by, alter column sealed set not null;
drop table operator_passkeys;
alter table operators drop constraint operators_one_credential, drop constraint operators_invitation,
  drop column handle, drop column invite_prefix, drop column invite_hash, drop column invite_until;
alter table operators add constraint operators_check check ((public_key is null) = (pass_prefix is not null)) not valid;
