import { Button, Code, Group, Select, Stack, Table, Text, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { addPasskey, ask, freshKey, gaveUp, may, passkeysHere, usePay, useRead, useSession, type Role, type Session } from '../../data';
import { Ago, CopyButton, Empty, Go, Panel, Plain, Problem, Sentence, Shown, State, Title, Twin, When, Wide } from '../../parts';
import { useWords } from '../../words/words';
import words from './words.json';

type Operator = { name: string; role: Role | 'service'; method: string; created_by: string; created_at: string; disabled_at?: string; disabled_by?: string };
type Open = { id: string; operator: string; method: string; client: string; current: boolean; made_at: string; seen_at: string; ends_at: string };
type Passkey = { id: string; label: string; origin: string; made_at: string; used_at?: string };
type Deed = { id: number; operator: string; action: string; subject: string; status: number; code?: string; at: string };

/** People is who may do what here: operators, the sessions that are open, one's own ways
 * to sign in, and what people did. */
export default function People() {
  const t = useWords(words);
  const { session } = useSession();
  const operators = usePay<{ data: Operator[] }>('/v1/operators', { every: 15_000 });
  const open = useRead<Open[]>('/api/session/list', { every: 5000 });
  const active = operators.data?.data.filter((o) => !o.disabled_at) ?? [];
  const judges = active.filter((o) => o.role === 'approver' || o.role === 'admin').length;
  return (
    <>
      <Title right={<Twin cmd="moneta operator list" />}>{t('title')}</Title>
      {!operators.data ? (
        <Sentence tone={operators.problem ? 'wait' : 'idle'}>{t(operators.problem ? 'pay_down' : 'looking')}</Sentence>
      ) : judges < 2 ? (
        <Sentence tone="wait">{t('too_few', { n: active.length, judges })}</Sentence>
      ) : (
        <Sentence tone="good">{t('enough', { n: active.length, judges })}</Sentence>
      )}
      <Stack gap="md">
        <Panel title={t('sessions')}>
          <Shown of={open}>{(all) => <Sessions all={all} me={session} />}</Shown>
        </Panel>
        {session && !session.local && (
          <Panel title={t('passkeys')}>
            <Passkeys session={session} />
          </Panel>
        )}
        <Panel title={t('operators')}>
          <Shown of={operators}>{(l) => <Operators all={l.data} me={session} />}</Shown>
        </Panel>
        {may(session, 'admin') && (
          <Panel title={t('add')}>
            <Add />
          </Panel>
        )}
        <Panel title={t('deeds')} right={<Twin cmd="moneta operator log" />}>
          <Deeds />
        </Panel>
      </Stack>
    </>
  );
}

/** useAct does one thing at a time and says why it did not work. */
function useAct() {
  const t = useWords(words);
  const client = useQueryClient();
  const [busy, setBusy] = useState('');
  const [problem, setProblem] = useState<unknown>(null);
  const act = async (name: string, what: () => Promise<void>) => {
    setBusy(name);
    setProblem(null);
    try {
      await what();
    } catch (e) {
      setProblem(gaveUp(e) ? new Error(t('gave_up')) : e);
    } finally {
      setBusy('');
      void client.invalidateQueries({ predicate: (q) => /session|operators|approvals/.test(String(q.queryKey[1])) });
    }
  };
  return { busy, problem, act };
}

function Sessions({ all, me }: { all: Open[]; me: Session | undefined }) {
  const t = useWords(words);
  const { busy, problem, act } = useAct();
  return (
    <Stack gap="sm">
      <Text size="sm" c="dimmed">{t('sessions_how')}</Text>
      {problem !== null && <Problem of={problem} />}
      <Wide label={t('sessions')} least={640}>
        <Table verticalSpacing={6}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">{t('who')}</Table.Th>
              <Table.Th scope="col">{t('by')}</Table.Th>
              <Table.Th scope="col">{t('client')}</Table.Th>
              <Table.Th scope="col">{t('since')}</Table.Th>
              <Table.Th scope="col">{t('ends')}</Table.Th>
              <Table.Th scope="col">{t("end")}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {all.map((s) => (
              <Table.Tr key={s.id}>
                <Table.Td>{s.operator === 'local' ? t('local') : s.operator} {s.current && <State tone="info">{t('this_one')}</State>}</Table.Td>
                <Table.Td>{s.operator === 'local' ? t('method_link') : t(`method_${s.method}` as 'method_totp')}</Table.Td>
                <Table.Td><Text size="sm" lineClamp={1} maw={220} title={s.client}>{short(s.client)}</Text></Table.Td>
                <Table.Td><Ago at={s.made_at} /></Table.Td>
                <Table.Td><When at={s.ends_at} /></Table.Td>
                <Table.Td>
                  {!s.current && (
                    <Button size="compact-sm" variant="default" loading={busy === s.id} onClick={() => void act(s.id, async () => void (await ask(`/api/session/list/${s.id}`, { method: 'DELETE' })))} aria-label={t('end_of', { who: s.operator })}>
                      {t('end')}
                    </Button>
                  )}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Wide>
      {me?.local && <Text size="sm">{t('local_why')}</Text>}
    </Stack>
  );
}

/** A browser's name for itself, without its ancestors. */
function short(client: string): string {
  const known = /(Firefox|Edg|Chrome|HeadlessChrome|Safari)\/(\d+)/.exec(client);
  const on = /\(([^;)]+)/.exec(client);
  return known ? `${known[1] === 'Edg' ? 'Edge' : known[1]} ${known[2]}${on ? `, ${on[1]}` : ''}` : client || '—';
}

function Passkeys({ session }: { session: Session }) {
  const t = useWords(words);
  const mine = useRead<Passkey[]>('/api/session/passkeys');
  const { busy, problem, act } = useAct();
  const [label, setLabel] = useState('');
  return (
    <Stack gap="sm">
      <Text size="sm" c="dimmed">{t('passkeys_how')}</Text>
      {problem !== null && <Problem of={problem} />}
      <Shown of={mine} rows={2}>
        {(all) =>
          all.length === 0 ? (
            <Empty title={t('passkeys_none')}>{t('passkeys_none_do')}</Empty>
          ) : (
            <Stack gap={6}>
              {all.map((k) => (
                <Group key={k.id} justify="space-between" gap="sm">
                  <div>
                    <Text fw={600}>{k.label}</Text>
                    <Text size="sm" c="dimmed">{t('made')} <Ago at={k.made_at} />{k.used_at && <>, {t('used')} <Ago at={k.used_at} /></>}{k.origin !== session.origin && `, ${t('for_origin', { origin: k.origin })}`}</Text>
                  </div>
                  <Sure label={t('remove')} sure={t('remove_sure')} busy={busy === k.id} onSure={() => void act(k.id, async () => void (await ask(`/api/session/passkeys/${k.id}`, { method: 'DELETE' })))} />
                </Group>
              ))}
            </Stack>
          )
        }
      </Shown>
      <form onSubmit={(e) => { e.preventDefault(); void act('add', async () => { await addPasskey(label.trim()); setLabel(''); }); }}>
        <Group gap="sm" align="end">
          <TextInput label={t('label')} placeholder={t('label_eg')} value={label} onChange={(e) => setLabel(e.currentTarget.value)} maxLength={60} style={{ flex: 1, maxWidth: 320 }} />
          <Button type="submit" variant="default" loading={busy === 'add'} disabled={label.trim() === '' || !passkeysHere()}>{t('passkey_add')}</Button>
        </Group>
      </form>
    </Stack>
  );
}

/** Sure is a button that asks once more in its own place. */
function Sure({ label, sure, busy, onSure }: { label: string; sure: string; busy: boolean; onSure: () => void }) {
  const t = useWords(words);
  const [asked, setAsked] = useState(false);
  return asked ? (
    <Group gap="xs">
      <Button size="compact-sm" color="red" loading={busy} onClick={onSure} autoFocus>{sure}</Button>
      <Plain onClick={() => setAsked(false)}>{t('no')}</Plain>
    </Group>
  ) : (
    <Button size="compact-sm" variant="default" onClick={() => setAsked(true)}>{label}</Button>
  );
}

function Operators({ all, me }: { all: Operator[]; me: Session | undefined }) {
  const t = useWords(words);
  const { busy, problem, act } = useAct();
  const [proposed, setProposed] = useState('');
  if (all.length === 0) return <Empty title={t('nobody')}>{t('nobody_do')}</Empty>;
  const disable = (name: string) =>
    act(name, async () => {
      if (may(me, 'admin') || name === me?.name) {
        await ask(`/api/pay/v1/operators/${name}/disable`, { method: 'POST', headers: { 'Idempotency-Key': freshKey() } });
        return;
      }
      await ask('/api/pay/v1/approvals', { method: 'POST', body: { kind: 'disable_operator', parameters: { operator: name }, reason: t('disable_reason', { name }) }, headers: { 'Idempotency-Key': freshKey() } });
      setProposed(name);
    });
  return (
    <Stack gap="sm">
      {problem !== null && <Problem of={problem} />}
      {proposed !== '' && <Text size="sm">{t('disable_proposed', { name: proposed })} <Go to="/approvals">{t('to_approvals')}</Go></Text>}
      <Wide label={t('operators')} least={640}>
        <Table verticalSpacing={6}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">{t('who')}</Table.Th>
              <Table.Th scope="col">{t('role')}</Table.Th>
              <Table.Th scope="col">{t('by')}</Table.Th>
              <Table.Th scope="col">{t('added')}</Table.Th>
              <Table.Th scope="col">{t('state')}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {all.map((o) => (
              <Table.Tr key={o.name}>
                <Table.Td>{o.name}</Table.Td>
                <Table.Td>{t(`role_${o.role}`)}</Table.Td>
                <Table.Td>{t(`method_${o.method}` as 'method_totp')}</Table.Td>
                <Table.Td>{o.created_by === 'local' ? t('local') : o.created_by}, <Ago at={o.created_at} /></Table.Td>
                <Table.Td>
                  {o.disabled_at ? (
                    <State tone="idle">{t('disabled', { who: o.disabled_by ?? '' })}</State>
                  ) : me?.local || !may(me, 'operator') ? (
                    <State tone="good">{t('active')}</State>
                  ) : (
                    <Group gap="sm">
                      <State tone={o.method === 'invited' ? 'wait' : 'good'}>{o.method === 'invited' ? t('invited') : t('active')}</State>
                      <Sure label={t('disable')} sure={t('disable_sure', { name: o.name })} busy={busy === o.name} onSure={() => void disable(o.name)} />
                    </Group>
                  )}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Wide>
    </Stack>
  );
}

type Invited = { name: string; role: Role; link: string; credential: string; added: boolean };

function Add() {
  const t = useWords(words);
  const { busy, problem, act } = useAct();
  const [name, setName] = useState('');
  const [role, setRole] = useState<Role>('operator');
  const [reason, setReason] = useState('');
  const [made, setMade] = useState<Invited>();
  const roles: Role[] = ['viewer', 'operator', 'approver', 'admin'];
  return (
    <Stack gap="sm">
      <Text size="sm" c="dimmed">{t('add_how')}</Text>
      {problem !== null && <Problem of={problem} />}
      <form
        onSubmit={(e) => {
          e.preventDefault();
          void act('add', async () => {
            setMade(undefined);
            const { data } = await ask<Invited>('/api/session/invitations', { method: 'POST', body: { name, role } });
            if (!data.added) {
              await ask('/api/pay/v1/approvals', {
                method: 'POST',
                body: { kind: 'add_operator', parameters: { name, role, credential: data.credential }, reason: reason.trim() || t('add_reason', { name }) },
                headers: { 'Idempotency-Key': freshKey() },
              });
            }
            setMade(data);
            setName('');
          });
        }}
      >
        <Group gap="sm" align="end">
          <TextInput label={t('add_name')} value={name} onChange={(e) => setName(e.currentTarget.value.trim().toLowerCase())} placeholder="dana" autoCapitalize="none" spellCheck={false} pattern="[a-z][a-z0-9.\-]{1,39}" title={t('add_name_form')} />
          <Select label={t('role')} value={role} onChange={(v) => v && setRole(v as Role)} data={roles.map((r) => ({ value: r, label: t(`role_${r}`) }))} allowDeselect={false} w={160} />
          <TextInput label={t('add_why')} value={reason} onChange={(e) => setReason(e.currentTarget.value)} maxLength={300} style={{ flex: 1, minWidth: 160 }} />
          <Button type="submit" loading={busy === 'add'} disabled={!/^[a-z][a-z0-9.-]{1,39}$/.test(name)}>{t('add_go')}</Button>
        </Group>
      </form>
      {made && (
        <Stack gap={6} role="status">
          <Text fw={600}>{t(made.added ? 'add_done' : 'add_waits', { name: made.name })} {!made.added && <Go to="/approvals">{t('to_approvals')}</Go>}</Text>
          <Text size="sm">{t('add_link', { name: made.name })}</Text>
          <Group gap={4} wrap="nowrap">
            <Code data-invitation style={{ overflowWrap: 'anywhere' }}>{made.link}</Code>
            <CopyButton text={made.link} />
          </Group>
        </Stack>
      )}
    </Stack>
  );
}

function Deeds() {
  const t = useWords(words);
  const all = usePay<{ data: Deed[] }>('/v1/operators/deeds?limit=30', { every: 10_000 });
  return (
    <Shown of={all}>
      {(l) =>
        l.data.length === 0 ? (
          <Empty title={t('deeds_none')}>{t('deeds_why')}</Empty>
        ) : (
          <Wide label={t('deeds')} least={560}>
            <Table verticalSpacing={4}>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th scope="col">{t('when')}</Table.Th>
                  <Table.Th scope="col">{t('who')}</Table.Th>
                  <Table.Th scope="col">{t('did')}</Table.Th>
                  <Table.Th scope="col">{t('end_how')}</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {l.data.map((d) => (
                  <Table.Tr key={d.id}>
                    <Table.Td><When at={d.at} /></Table.Td>
                    <Table.Td>{d.operator}</Table.Td>
                    <Table.Td>{d.action} <Text span size="sm" c="dimmed">{d.subject}</Text></Table.Td>
                    <Table.Td>{d.status === 0 ? <State tone="wait">{t('not_seen')}</State> : <State tone={d.status < 400 ? 'good' : 'bad'}>{d.code || t('done')}</State>}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </Wide>
        )
      }
    </Shown>
  );
}
