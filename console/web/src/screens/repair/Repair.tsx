import { Button, Checkbox, Group, Radio, Stack, Table, Text } from '@mantine/core';
import { useState } from 'react';
import { may, useDo, useLook, useParam, useSession } from '../../data';
import { Ago, Empty, Go, Id, Money, Panel, Problem, Progress, Sentence, Shown, State, Title, Twin, When, Wide, useSpan, type Tone } from '../../parts';
import { useWords } from '../../words/words';
import classes from './repair.module.css';
import { Side, sides } from './Side';
import words from './words.json';

type Group = { kind: string; act?: string; channel?: string; asset?: string; items: number; value?: string; overdue: number; oldest?: string; says?: string };
type Item = { payment: string; kind: string; channel: string; asset: string; value: string; state: string; attempt: number; entered_at: string; next_at?: string; deadline?: string; checks: number };
type Order = { id: string; act: string; kind: string; channel?: string; payments: string[]; items: number; value: Record<string, string>; left: { payment: string; why: string }[]; hash: string; reach: number; by: string; needs: number; at: string };
type Run = {
  order: Order; state: string; began: string; at: string; total: number; brought: number; batches: number; of: number; open: number; moved: number;
  ended: Record<string, number>; value: Record<string, string>; value_done: Record<string, string>; per_minute: number; eta_s?: number; says?: string;
  proof?: { file: string; clean: boolean; found?: string[] };
};
type Answer = { at: string; groups: Group[]; cut: boolean; silent?: string; run?: Run; past: Run[] };

const keyOf = (g: Group) => `${g.kind}/${g.channel ?? ''}/${g.asset ?? ''}`;

export default function Repair() {
  const t = useWords(words);
  const { session } = useSession();
  const [chosen, setChosen] = useParam('group');
  const [order, setOrder] = useState<Order | null>(null);
  const bench = useLook<Answer>('/repair', { every: 2000, keep: true });
  const operator = may(session, 'operator');
  return (
    <>
      <Title right={<Twin cmd="moneta backlog plan" />}>{t('title')}</Title>
      <Shown of={bench} rows={8}>
        {(d) => {
          const waiting = d.groups.filter((g) => g.act && g.kind !== 'callbacks' && !sides.includes(g.kind));
          const n = waiting.reduce((s, g) => s + g.items, 0);
          const group = d.groups.find((g) => keyOf(g) === chosen);
          const goes = d.run && (d.run.state === 'running' || d.run.state === 'paused');
          return (
            <Stack gap="md">
              {d.silent ? <Sentence tone="wait">{t('silent')}</Sentence> : goes ? <Sentence tone="wait">{t('going', { n: d.run?.open ?? 0, of: d.run?.total ?? 0 })}</Sentence> : n > 0 ? <Sentence tone={waiting.some((g) => g.overdue > 0) ? 'bad' : 'wait'}>{t('waiting', { n, groups: waiting.length })}</Sentence> : <Sentence tone="good">{t('calm')}</Sentence>}
              {d.run && <Running run={d.run} again={bench.refetch} operator={operator} />}
              <Panel title={t('groups')} right={d.cut && <Text size="sm" c="dimmed">{t('cut')}</Text>}>
                {d.groups.length === 0 ? (
                  <Empty title={t(d.silent ? 'none_known' : 'none')} tone={d.silent ? 'idle' : 'good'} action={d.silent && <Go to="/">{t('to_map')}</Go>}>{d.silent ?? t('none_why')}</Empty>
                ) : (
                  <Radio.Group value={chosen} onChange={(v) => { setChosen(v); setOrder(null); }} aria-label={t('groups')}>
                    <ul className={classes.groups}>{d.groups.map((g) => <OneGroup key={keyOf(g)} g={g} most={Math.max(...d.groups.map((x) => x.items))} chosen={keyOf(g) === chosen} />)}</ul>
                  </Radio.Group>
                )}
              </Panel>
              {group?.act && sides.includes(group.kind) && <Side key={keyOf(group)} g={group} again={bench.refetch} operator={operator} />}
              {group?.act && !sides.includes(group.kind) && !goes && <Chosen key={keyOf(group)} g={group} order={order} setOrder={setOrder} again={bench.refetch} operator={operator} />}
              {d.past.length > 0 && <Past past={d.past} />}
            </Stack>
          );
        }}
      </Shown>
    </>
  );
}

function OneGroup({ g, most, chosen }: { g: Group; most: number; chosen: boolean }) {
  const t = useWords(words);
  const share = (n: number) => `${Math.max(n > 0 ? 1 : 0, (100 * n) / Math.max(1, most))}%`;
  return (
    <li className={classes.group} data-chosen={chosen ? '' : undefined}>
      {g.act ? <Radio value={keyOf(g)} aria-label={`${t.maybe(`kind_${g.kind}`) ?? g.kind} ${g.channel ?? ''} ${g.asset ?? ''}`} /> : <span />}
      <div>
        <div className={classes.name}>{t.maybe(`kind_${g.kind}`) ?? g.kind}{g.channel ? ` · ${g.channel}` : ''}</div>
        <div className={classes.dim}>{g.says || t.maybe(`kind_${g.kind}_what`)}</div>
      </div>
      <div>{t('items', { n: g.items })}{g.overdue > 0 && <> · <State tone="bad">{t('overdue', { n: g.overdue })}</State></>}</div>
      <div>{g.value && g.asset ? <Money amount={g.value} asset={g.asset} strong /> : ''}{g.oldest && <div className={classes.dim}>{t('oldest')} <Ago at={g.oldest} /></div>}</div>
      <div>{!g.act && (g.kind === 'person' ? <Text size="sm">{t('person_do')}</Text> : null)}</div>
      <div className={classes.bar} aria-hidden><span data-late="" style={{ width: share(g.overdue) }} /><span style={{ width: share(g.items - g.overdue) }} /></div>
    </li>
  );
}

/** Chosen is one group: its payments, and the dry run before anything is done. */
function Chosen({ g, order, setOrder, again, operator }: { g: Group; order: Order | null; setOrder: (o: Order | null) => void; again: () => void; operator: boolean }) {
  const t = useWords(words);
  const callbacks = g.kind === 'callbacks';
  const items = useLook<{ items: Item[] }>(callbacks ? null : `/repair/items?kind=${g.kind}&channel=${encodeURIComponent(g.channel ?? '')}`, { keep: true });
  const [off, setOff] = useState<Set<string>>(new Set());
  const shown = (items.data?.items ?? []).filter((i) => !g.asset || i.asset === g.asset);
  const picked = shown.filter((i) => !off.has(i.payment)).map((i) => i.payment);
  const look = useDo<Order, string[]>((payments) => ({ path: '/api/look/repair/orders', body: { act: g.act, channel: g.channel ?? '', payments } }), []);
  const turn = (id: string) => {
    const next = new Set(off);
    if (!next.delete(id)) next.add(id);
    setOff(next);
    setOrder(null);
  };
  return (
    <Panel title={t('chosen', { name: `${t.maybe(`kind_${g.kind}`) ?? g.kind}${g.channel ? ` · ${g.channel}` : ''}` })} right={operator && <Button loading={look.isPending} disabled={!callbacks && picked.length === 0} onClick={() => look.mutate(callbacks ? [] : picked, { onSuccess: setOrder })}>{t('dry_run')}</Button>}>
      <Stack gap="md">
        <Text size="sm">{t.maybe(`act_${g.act}`)}</Text>
        {look.error && <Problem of={look.error} />}
        {order && <Diff order={order} again={() => { setOrder(null); again(); }} />}
        {!callbacks && (
          <Shown of={items} rows={4}>
            {() => (
              <>
                <Text size="sm" c="dimmed">{t('picked', { n: picked.length, of: shown.length })}{g.items > shown.length && ` ${t('first_ones', { n: shown.length })}`}</Text>
                <Wide label={t('payments')} least={620}>
                  <div style={{ maxHeight: 360, overflowY: 'auto' }}>
                    <Table verticalSpacing={4} fz="sm" stickyHeader>
                      <Table.Thead><Table.Tr><Table.Th w={36}><Checkbox size="xs" aria-label={t('pick_all')} checked={picked.length === shown.length && shown.length > 0} indeterminate={picked.length > 0 && picked.length < shown.length} onChange={() => { setOff(picked.length === shown.length ? new Set(shown.map((i) => i.payment)) : new Set()); setOrder(null); }} /></Table.Th>
                        {(['h_payment', 'h_amount', 'h_state', 'h_since', 'h_next', 'h_checks'] as const).map((h) => <Table.Th key={h} scope="col">{t(h)}</Table.Th>)}</Table.Tr></Table.Thead>
                      <Table.Tbody>
                        {shown.map((i) => (
                          <Table.Tr key={i.payment}>
                            <Table.Td><Checkbox size="xs" aria-label={t('pick', { id: i.payment })} checked={!off.has(i.payment)} onChange={() => turn(i.payment)} /></Table.Td>
                            <Table.Td><Id id={i.payment} /></Table.Td>
                            <Table.Td><Money amount={i.value} asset={i.asset} /></Table.Td>
                            <Table.Td>{i.state}</Table.Td>
                            <Table.Td><Ago at={i.entered_at} /></Table.Td>
                            <Table.Td>{i.next_at ? <Ago at={i.next_at} /> : '—'}</Table.Td>
                            <Table.Td>{i.checks}</Table.Td>
                          </Table.Tr>
                        ))}
                      </Table.Tbody>
                    </Table>
                  </div>
                </Wide>
              </>
            )}
          </Shown>
        )}
      </Stack>
    </Panel>
  );
}

/** Diff is what a run would do and to how many, before anything is done. */
function Diff({ order, again }: { order: Order; again: () => void }) {
  const t = useWords(words);
  const start = useDo<unknown>(() => ({ path: '/api/look/repair/run', body: { id: order.id, hash: order.hash } }), ['/api/look/repair']);
  const [sure, setSure] = useState(false);
  const why = new Map<string, number>();
  for (const l of order.left) why.set(l.why, (why.get(l.why) ?? 0) + 1);
  return (
    <section aria-label={t('diff')}>
      <div className={classes.diff}>
        <div><div className={classes.big}>{order.items}</div><div className={classes.dim}>{t(`will_${order.act}` as 'will_redispatch')}</div></div>
        {[...why].map(([w, n]) => <div key={w}><div className={classes.big}>{n}</div><div className={classes.dim}>{t('skip')} {t.maybe(`why_${w}`) ?? w}</div></div>)}
        {Object.entries(order.value).map(([a, v]) => <div key={a}><div className={classes.big}><Money amount={v} asset={a} /></div><div className={classes.dim}>{t('worth')}</div></div>)}
      </div>
      <Stack gap="xs" mt="md">
        <Text size="sm">{t(order.needs > 0 ? 'needs_other' : 'alone')}</Text>
        <div className={classes.hash}>{t('hash')} {order.hash.slice(0, 24)}…</div>
        {start.error && <Problem of={start.error} />}
        {start.isSuccess && order.needs > 0 && <Text size="sm" role="status">{t('asked')} <Go to="/approvals">{t('approvals')}</Go></Text>}
        <Group gap="md">
          <Checkbox label={t('sure', { n: order.items })} checked={sure} onChange={(e) => setSure(e.currentTarget.checked)} disabled={order.items === 0} />
          <Button disabled={!sure || order.items === 0} loading={start.isPending} onClick={() => start.mutate(undefined, { onSuccess: () => order.needs === 0 && again() })}>{t('go')}</Button>
        </Group>
      </Stack>
    </section>
  );
}

const tones: Record<string, Tone> = { running: 'wait', paused: 'wait', stopped: 'idle', done: 'good', over: 'wait', failed: 'bad' };

function Running({ run, again, operator }: { run: Run; again: () => void; operator: boolean }) {
  const t = useWords(words);
  const span = useSpan();
  const goes = run.state === 'running' || run.state === 'paused';
  const pause = useDo<Run, boolean>((on) => ({ path: `/api/look/repair/run/${on ? 'pause' : 'resume'}` }), ['/api/look/repair']);
  const stop = useDo<Run>(() => ({ path: '/api/look/repair/run', method: 'DELETE' }), ['/api/look/repair']);
  const money = (of: Record<string, string>) => Object.entries(of).map(([a, v]) => <span key={a} style={{ marginRight: 8 }}><Money amount={v} asset={a} /></span>);
  return (
    <Panel
      title={<>{t(`do_${run.order.act}` as 'do_redispatch')} <Text span size="sm" c="dimmed" fw={400}>{t('by', { who: run.order.by })}</Text></>}
      right={
        <Group gap="xs">
          <State tone={tones[run.state] ?? 'idle'}>{t.maybe(`state_${run.state}`) ?? run.state}</State>
          {goes && operator && <Button size="compact-sm" variant="default" loading={pause.isPending} onClick={() => pause.mutate(run.state === 'running', { onSuccess: again })}>{t(run.state === 'running' ? 'pause' : 'resume')}</Button>}
          {goes && operator && <Button size="compact-sm" variant="default" loading={stop.isPending} onClick={() => stop.mutate(undefined, { onSuccess: again })}>{t('stop')}</Button>}
        </Group>
      }
    >
      <Stack gap="xs">
        <Progress done={Math.max(0, run.total - run.open)} total={run.total} label={t('through', { n: run.total - run.open, of: run.total })} doneMoney={<>{t('money_done')} {money(run.value_done)}</>} leftMoney={<>{t('money_left')} {money(run.value)}</>} />
        <Text size="sm" c="dimmed">
          {t('batches', { n: run.batches, of: run.of, brought: run.brought })}
          {run.per_minute > 0 && ` · ${t('rate', { n: Math.round(run.per_minute) })}`}
          {run.eta_s !== undefined && goes && ` · ${t('eta', { time: span('for', run.eta_s) })}`}
        </Text>
        <Group gap="md">
          {Object.entries(run.ended).map(([s, n]) => <State key={s} tone={s === 'succeeded' ? 'good' : 'idle'}>{t('ended_as', { n, state: s })}</State>)}
          {run.moved > 0 && <State tone="wait">{t('moved', { n: run.moved })}</State>}
        </Group>
        {run.says && <Text size="sm">{run.says}</Text>}
        {!goes && (run.proof ? (
          <Group gap="md">
            {run.proof.clean ? <State tone="good">{t('proved')}</State> : <State tone="wait">{t('proved_off', { n: run.proof.found?.length ?? 0 })}</State>}
            <Button component="a" href={`/api/look/repair/runs/${run.order.id}/proof`} download size="compact-sm" variant="default">{t('download')}</Button>
          </Group>
        ) : <Text size="sm" c="dimmed">{t('not_proved')}</Text>)}
      </Stack>
    </Panel>
  );
}

function Past({ past }: { past: Run[] }) {
  const t = useWords(words);
  return (
    <Panel title={t('past')}>
      <Wide label={t('past')} least={560}>
        <Table verticalSpacing={4} fz="sm">
          <Table.Thead><Table.Tr>{(['h_at', 'h_what', 'h_who', 'h_through', 'h_state', 'h_proof'] as const).map((h) => <Table.Th key={h} scope="col">{t(h)}</Table.Th>)}</Table.Tr></Table.Thead>
          <Table.Tbody>
            {past.map((p) => (
              <Table.Tr key={p.order.id}>
                <Table.Td><When at={p.began} /></Table.Td>
                <Table.Td>{t(`do_${p.order.act}` as 'do_redispatch')} {p.order.channel}</Table.Td>
                <Table.Td>{p.order.by}</Table.Td>
                <Table.Td>{p.total - p.open} / {p.total}</Table.Td>
                <Table.Td><State tone={tones[p.state] ?? 'idle'}>{t.maybe(`state_${p.state}`) ?? p.state}</State></Table.Td>
                <Table.Td>{p.proof ? <a href={`/api/look/repair/runs/${p.order.id}/proof`} download>{t(p.proof.clean ? 'proved' : 'proved_short')}</a> : '—'}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Wide>
    </Panel>
  );
}
