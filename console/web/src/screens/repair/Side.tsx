import { Button, Checkbox, Group, Select, Stack, Table, Text, Textarea } from '@mantine/core';
import { useState } from 'react';
import { useDo, usePay } from '../../data';
import { Ago, AsCurl, Empty, Go, Panel, Problem, Shown, State, Wide } from '../../parts';
import { useWords } from '../../words/words';
import classes from './repair.module.css';
import words from './words.json';

export type SideGroup = { kind: string; channel?: string; items: number; says?: string };
type Callback = { id: string; channel: string; received_at: string; parked_at?: string; by?: string; reason?: string; body: string };
type Work = { items: number; dropped?: number; cut?: boolean; enabled?: boolean; next?: string };

/** sides are the groups that are no payments: what is done about them is the API's own act. */
export const sides = ['parked', 'webhooks', 'projection'];

export function Side({ g, again, operator }: { g: SideGroup; again: () => void; operator: boolean }) {
  return g.kind === 'parked' ? <Parked g={g} again={again} operator={operator} /> : <Derived g={g} again={again} operator={operator} />;
}

/** Parked are callbacks that were set aside: read, then replayed or given up. */
function Parked({ g, again, operator }: { g: SideGroup; again: () => void; operator: boolean }) {
  const t = useWords(words);
  const path = `/v1/backlog/callbacks?channel=${encodeURIComponent(g.channel ?? '')}`;
  const list = usePay<{ data: Callback[] }>(path, { every: 10_000, keep: true });
  const [off, setOff] = useState<Set<string>>(new Set());
  const [reason, setReason] = useState('');
  const shown = list.data?.data ?? [];
  const picked = shown.filter((c) => !off.has(c.id)).map((c) => c.id);
  const refresh = ['/api/pay/v1/backlog', '/api/look/repair', '/api/pay/v1/approvals'];
  const act = useDo<Work, string>((what) => ({ path: '/api/pay/v1/backlog', body: { act: what, callbacks: picked, reason: reason.trim() } }), refresh);
  const propose = useDo<unknown>(() => ({ path: '/api/pay/v1/approvals', body: { kind: 'give_up_callback', parameters: { callbacks: picked.join(',') }, reason: reason.trim() } }), refresh);
  const ready = operator && picked.length > 0 && reason.trim() !== '';
  const done = { onSuccess: () => { setReason(''); again(); } };
  return (
    <Panel title={`${t('kind_parked')}${g.channel ? ` · ${g.channel}` : ''}`} right={<AsCurl call={{ path }} />}>
      <Stack gap="md">
        <Text size="sm">{t('act_replay-parked')}</Text>
        <Shown of={list} rows={3}>
          {() => shown.length === 0 ? <Empty title={t('parked_none')} tone="good">{t('parked_none_why')}</Empty> : (
            <Wide label={t('kind_parked')} least={640}>
              <Table verticalSpacing={4} fz="sm">
                <Table.Thead><Table.Tr><Table.Th w={36} />{(['h_callback', 'h_received', 'h_who', 'h_why', 'h_says'] as const).map((h) => <Table.Th key={h} scope="col">{t(h)}</Table.Th>)}</Table.Tr></Table.Thead>
                <Table.Tbody>
                  {shown.map((c) => (
                    <Table.Tr key={c.id}>
                      <Table.Td><Checkbox size="xs" aria-label={t('pick_callback', { id: c.id })} checked={!off.has(c.id)} onChange={() => setOff((was) => { const next = new Set(was); if (!next.delete(c.id)) next.add(c.id); return next; })} /></Table.Td>
                      <Table.Td>{c.id}</Table.Td>
                      <Table.Td><Ago at={c.received_at} /></Table.Td>
                      <Table.Td>{c.by}</Table.Td>
                      <Table.Td>{c.reason}</Table.Td>
                      <Table.Td><details><summary>{t('read')}</summary><div className={classes.hash}>{c.body}</div></details></Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            </Wide>
          )}
        </Shown>
        {operator && shown.length > 0 && (
          <>
            <Textarea size="xs" label={t('reason')} autosize minRows={2} maxLength={200} value={reason} onChange={(e) => setReason(e.currentTarget.value)} />
            <Group gap="md">
              <Button size="xs" disabled={!ready} loading={act.isPending} onClick={() => act.mutate('replay-parked', done)}>{t('replay', { n: picked.length })}</Button>
              <Button size="xs" variant="default" disabled={!ready} loading={propose.isPending} onClick={() => propose.mutate(undefined, done)}>{t('give_up', { n: picked.length })}</Button>
            </Group>
            <Text size="sm" c="dimmed">{t('give_up_why')}</Text>
          </>
        )}
        {act.error && <Problem of={act.error} />}
        {propose.error && <Problem of={propose.error} />}
        {propose.isSuccess && <Text size="sm" role="status">{t('proposed')} <Go to="/approvals">{t('approvals')}</Go></Text>}
      </Stack>
    </Panel>
  );
}

const spans = ['1', '24', '168', '696'] as const;

/** Derived is an endpoint that is told once more, or what is derived anew from the log. */
function Derived({ g, again, operator }: { g: SideGroup; again: () => void; operator: boolean }) {
  const t = useWords(words);
  const [hours, setHours] = useState('24');
  const [seen, setSeen] = useState<{ since: string; work: Work } | null>(null);
  const order = (since: string, dry: boolean) => g.kind === 'webhooks'
    ? { act: 'redeliver-webhooks', endpoint: g.channel, since, dry_run: dry }
    : { act: 'rebuild-projection', projection: g.channel, since, dry_run: dry };
  const look = useDo<Work, string>((since) => ({ path: '/api/pay/v1/backlog', body: order(since, true) }), []);
  const go = useDo<Work, string>((since) => ({ path: '/api/pay/v1/backlog', body: order(since, false) }), ['/api/look/repair', '/api/pay/v1/webhooks']);
  const since = () => new Date(Date.now() - Number(hours) * 3_600_000).toISOString();
  return (
    <Panel title={`${t(`kind_${g.kind}` as 'kind_webhooks')} · ${g.channel ?? ''}`}>
      <Stack gap="md">
        <Text size="sm">{t(g.kind === 'webhooks' ? 'act_redeliver-webhooks' : 'act_rebuild-projection')}</Text>
        {g.says && <State tone="bad">{g.says}</State>}
        {operator && (
          <Group gap="md" align="end">
            <Select size="xs" label={t('since')} value={hours} allowDeselect={false} data={spans.map((h) => ({ value: h, label: t(`since_${h}`) }))} onChange={(v) => { setHours(v ?? '24'); setSeen(null); go.reset(); }} />
            <Button size="xs" variant="default" loading={look.isPending} onClick={() => { const at = since(); go.reset(); look.mutate(at, { onSuccess: (work) => setSeen({ since: at, work }) }); }}>{t('dry_run')}</Button>
            <Button size="xs" disabled={!seen} loading={go.isPending} onClick={() => seen && go.mutate(seen.since, { onSuccess: () => { setSeen(null); again(); } })}>{t('go')}</Button>
          </Group>
        )}
        {seen && <Text size="sm" role="status">{t('would', { n: seen.work.items })}{seen.work.cut && ` ${t('cut_log')}`}{seen.work.next && ` ${t('goes_on')}`}</Text>}
        {go.data && <Text size="sm" role="status">{t(g.kind === 'webhooks' ? 'told_again' : 'derived', { n: go.data.items })}{go.data.enabled && ` ${t('was_disabled')}`}{go.data.next && ` ${t('goes_on')}`}</Text>}
        {look.error && <Problem of={look.error} />}
        {go.error && <Problem of={go.error} />}
      </Stack>
    </Panel>
  );
}
