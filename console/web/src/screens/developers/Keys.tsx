import { Button, Checkbox, Code, Group, NumberInput, Stack, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import { freshKey, may, useDo, type Result, type Session } from '../../data';
import { Ago, AsCurl, Empty, Panel, Plain, Problem, Sheet, Shown, State, Twin } from '../../parts';
import { useWords } from '../../words/words';
import { Once } from './Once';
import words from './words.json';

type Limit = { quota: number; window_s: number };
export type Key = { prefix: string; key?: string; name: string; scopes: string[]; created_at: string; revoked_at?: string; limits?: { writes?: Limit; reads?: Limit } };

const scopes = ['payments:write', 'payments:read', 'accounts:write', 'accounts:read', 'webhooks:write', 'webhooks:read'];

/** Keys makes, limits and revokes the keys that programs use. */
export function Keys({ all, session }: { all: Result<{ data: Key[] }>; session: Session | undefined }) {
  const t = useWords(words);
  const chief = may(session, 'admin') && !session?.local;
  return (
    <Stack gap="md">
      <Panel title={t('keys')}>
        <Shown of={all}>{(l) => (l.data.length === 0 ? <Empty title={t('keys_none')}>{t('keys_none_do')}</Empty> : <List all={l.data} chief={chief} />)}</Shown>
      </Panel>
      <Panel title={t('key_new')} right={<Twin cmd="moneta key create --name shop --scopes payments:write,payments:read" />}>
        {chief ? <New /> : <Text size="sm" c="dimmed">{t(session?.local ? 'key_local' : 'key_admin')}</Text>}
      </Panel>
    </Stack>
  );
}

function List({ all, chief }: { all: Key[]; chief: boolean }) {
  const t = useWords(words);
  const [open, setOpen] = useState('');
  return (
    <Sheet
      label={t('keys')}
      least={680}
      rows={all}
      keyOf={(k) => k.prefix}
      columns={[
        { name: t('key'), of: (k) => <>{k.name || '—'} <Code>{k.prefix}</Code></> },
        { name: t('scopes'), of: (k) => k.scopes.join(', '), max: 260 },
        { name: t('made'), of: (k) => <Ago at={k.created_at} /> },
        {
          name: t('limits'),
          of: (k) => (
            <>
              <Limits k={k} />
              {chief && !k.revoked_at && (open === k.prefix ? <SetLimits k={k} onDone={() => setOpen('')} /> : <div><Plain onClick={() => setOpen(k.prefix)}>{t('limit')}</Plain></div>)}
            </>
          ),
        },
        { name: t('state'), of: (k) => (k.revoked_at ? <State tone="idle">{t('revoked')}</State> : chief ? <Revoke k={k} /> : <State tone="good">{t('valid')}</State>) },
      ]}
    />
  );
}

function Limits({ k }: { k: Key }) {
  const t = useWords(words);
  const one = (l?: Limit) => (l ? `${l.quota}/${l.window_s} s` : '∞');
  return k.limits ? <Text size="sm">{t('limits_are', { writes: one(k.limits.writes), reads: one(k.limits.reads) })}</Text> : <Text size="sm" c="dimmed">{t('limits_none')}</Text>;
}

function SetLimits({ k, onDone }: { k: Key; onDone: () => void }) {
  const t = useWords(words);
  const [writes, setWrites] = useState<number | string>(k.limits?.writes?.quota ?? 600);
  const [reads, setReads] = useState<number | string>(k.limits?.reads?.quota ?? 6000);
  const set = useDo<Key>(() => ({ path: `/api/pay/v1/keys/${k.prefix}/limits`, body: { writes: { quota: Number(writes), window_s: 60 }, reads: { quota: Number(reads), window_s: 60 } }, headers: { 'Idempotency-Key': freshKey() } }), ['/api/pay/v1/keys']);
  return (
    <form onSubmit={(e) => { e.preventDefault(); set.mutate(undefined, { onSuccess: onDone }); }}>
      <Stack gap={6} mt={6}>
        {set.error && <Problem of={set.error} />}
        <NumberInput size="xs" label={t('writes_min')} value={writes} onChange={setWrites} min={1} max={1_000_000} allowDecimal={false} />
        <NumberInput size="xs" label={t('reads_min')} value={reads} onChange={setReads} min={1} max={1_000_000} allowDecimal={false} />
        <Group gap="xs">
          <Button size="compact-sm" type="submit" loading={set.isPending} disabled={!Number(writes) || !Number(reads)}>{t('limit_set')}</Button>
          <Plain onClick={onDone}>{t('no')}</Plain>
        </Group>
      </Stack>
    </form>
  );
}

function Revoke({ k }: { k: Key }) {
  const t = useWords(words);
  const [sure, setSure] = useState(false);
  const revoke = useDo<Key>(() => ({ path: `/api/pay/v1/keys/${k.prefix}`, method: 'DELETE', headers: { 'Idempotency-Key': freshKey() } }), ['/api/pay/v1/keys']);
  return (
    <Stack gap={6} align="start">
      {revoke.error && <Problem of={revoke.error} />}
      {sure ? (
        <Group gap="xs">
          <Button size="compact-sm" color="red" loading={revoke.isPending} onClick={() => revoke.mutate()}>{t('revoke_sure')}</Button>
          <Plain onClick={() => setSure(false)}>{t('no')}</Plain>
        </Group>
      ) : (
        <Button size="compact-sm" variant="default" onClick={() => setSure(true)} aria-label={t('revoke_of', { name: k.name || k.prefix })}>{t('revoke')}</Button>
      )}
    </Stack>
  );
}

function New() {
  const t = useWords(words);
  const [name, setName] = useState('');
  const [chosen, setChosen] = useState<string[]>(['payments:write', 'payments:read']);
  const body = { name, scopes: chosen };
  const make = useDo<Key>(() => ({ path: '/api/pay/v1/keys', body, headers: { 'Idempotency-Key': freshKey() } }), ['/api/pay/v1/keys']);
  return (
    <Stack gap="sm">
      <Text size="sm" c="dimmed">{t('key_how')}</Text>
      {make.error && <Problem of={make.error} />}
      <form onSubmit={(e) => { e.preventDefault(); make.mutate(undefined, { onSuccess: () => setName('') }); }}>
        <Stack gap="sm">
          <TextInput label={t('key_name')} placeholder="till 3" value={name} onChange={(e) => setName(e.currentTarget.value)} maxLength={100} maw={320} />
          <Checkbox.Group label={t('scopes')} value={chosen} onChange={setChosen}>
            <Group gap="md" mt={4}>{scopes.map((s) => <Checkbox key={s} value={s} label={s} />)}</Group>
          </Checkbox.Group>
          <Group gap="sm">
            <Button type="submit" loading={make.isPending} disabled={chosen.length === 0 || name.trim() === ''}>{t('key_make')}</Button>
            <AsCurl call={{ method: 'POST', path: '/v1/keys', body }} />
          </Group>
        </Stack>
      </form>
      {make.data?.key && <Once secret={make.data.key}>{t('key_once')}</Once>}
    </Stack>
  );
}
