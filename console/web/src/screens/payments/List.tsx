import { Button, Group, NativeSelect, Text, TextInput } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useEffect, useMemo, useRef, useState } from 'react';
import { ask, decimal, useGo, useLook, useParam, type Problem as ProblemError } from '../../data';
import { AsCurl, Empty, Go, Id, Loading, Money, Panel, Problem, RangePick, Sentence, Stale, State, Title, useRange, useSpan, useTick, When, whereIs, type Tone } from '../../parts';
import { IconSearch } from '../../parts/icons';
import { useWords } from '../../words/words';
import classes from './payments.module.css';
import { toneOf, type Page, type Payment } from './types';
import words from './words.json';

const statuses = ['processing', 'succeeded', 'failed'] as const;
const states = ['created', 'requires_action', 'in_review', 'reserved', 'dispatching', 'processing', 'unknown', 'succeeded', 'failed', 'cancelled', 'expired'] as const;
const kinds = ['send', 'payout', 'deposit', 'hold', 'capture', 'refund', 'late_payout', 'late_deposit', 'return', 'inbound', 'assignment', 'chargeback', 'compensation'] as const;
const filters = ['status', 'state', 'kind', 'channel', 'account'] as const;

/** query is the API's, from the address. */
function useQueryOf(): { path: string; any: boolean } {
  const all: Record<string, string> = {};
  for (const name of filters) {
    const [value] = useParam(name);
    if (value) all[name] = value;
  }
  const range = useRange();
  if (range.from !== undefined) all.created_from = new Date(range.from).toISOString();
  if (range.to !== undefined) all.created_to = new Date(range.to).toISOString();
  const any = Object.keys(all).length > 0;
  return { path: `/v1/payments?${new URLSearchParams({ limit: '100', ...all }).toString()}`, any };
}

export default function List() {
  const t = useWords(words);
  const { path, any } = useQueryOf();
  const [size, setSize] = useState(1);
  const list = useInfiniteQuery({
    queryKey: ['read', `/api/pay${path}`, 'pages'],
    initialPageParam: '',
    queryFn: ({ pageParam, signal }) => ask<Page<Payment>>(`/api/pay${path}${pageParam ? `&after=${encodeURIComponent(pageParam)}` : ''}`, { signal }),
    getNextPageParam: (last) => last.data.next,
    // The newest page follows by itself; who has gone further down reads in peace.
    refetchInterval: size > 1 ? false : 5000,
    retry: false,
  });
  const rows = useMemo(() => list.data?.pages.flatMap((p) => p.data.data) ?? [], [list.data]);
  useEffect(() => setSize(list.data?.pages.length ?? 1), [list.data]);
  const map = useLook<{ sentence: { en: string; zh: string }; state: string }>('/map', { every: 5000 });
  const age = list.data?.pages[0]?.age ?? null;
  return (
    <>
      <Title right={<AsCurl call={{ path }} />}>{t('title')}</Title>
      {map.data?.sentence ? <Sentence tone={mapTones[map.data.state] ?? 'info'}>{map.data.sentence[t.lang]}</Sentence> : <Sentence tone="idle">{t('list_says')}</Sentence>}
      <Search />
      <Panel
        title={t('list')}
        right={<Csv rows={rows} />}
      >
        <Filters />
        <Stale age={age} />
        {list.error && <Problem of={list.error as unknown as ProblemError} again={() => void list.refetch()} />}
        {list.isPending ? (
          <Loading rows={8} />
        ) : rows.length === 0 && !list.hasNextPage ? (
          <Empty title={any ? t('none_match') : t('none')}>{any ? t('none_match_do') : t('none_do')}</Empty>
        ) : (
          <>
            <Rows rows={rows} more={() => list.hasNextPage && !list.isFetchingNextPage && void list.fetchNextPage()} />
            <Group mt="sm" gap="sm">
              {list.hasNextPage && (
                <Button size="compact-sm" variant="default" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
                  {t('more')}
                </Button>
              )}
              <Text size="sm" c="dimmed">
                {t('shown', { n: rows.length })}
              </Text>
            </Group>
          </>
        )}
      </Panel>
    </>
  );
}

type Found = { found: { object: string; id: string; by: string; state?: string }[]; sure: boolean; next?: string; looked_back_to?: string };

/** Search takes whatever is pasted. */
function Search() {
  const t = useWords(words);
  const go = useGo();
  const [q, setQ] = useState('');
  const [out, setOut] = useState<Found | null>(null);
  const [problem, setProblem] = useState<unknown>(null);
  const [going, setGoing] = useState(false);
  const find = async (after = '') => {
    const text = q.trim();
    setProblem(null);
    if (!after) setOut(null);
    if (!text) return;
    setGoing(true);
    try {
      const { data } = await ask<Found>(`/api/look/find?q=${encodeURIComponent(text)}${after && `&after=${encodeURIComponent(after)}`}`);
      const only = data.found.length === 1 && data.sure ? whereIs(data.found[0]!.id) : undefined;
      if (only) go(only);
      else setOut(data);
    } catch (e) {
      setProblem(e);
    } finally {
      setGoing(false);
    }
  };
  return (
    <form
      role="search"
      className={classes.search}
      onSubmit={(e) => {
        e.preventDefault();
        void find();
      }}
    >
      <Group gap="xs" wrap="nowrap" align="end">
        <TextInput className={classes.grow} label={t('find')} placeholder={t('find_hint')} value={q} onChange={(e) => (setQ(e.currentTarget.value), setOut(null))} maxLength={255} leftSection={<IconSearch width={16} height={16} />} />
        <Button type="submit">{t('find_go')}</Button>
      </Group>
      {problem !== null && <Problem of={problem} again={() => void find()} />}
      {out && (
        <div className={classes.found} role="status">
          {out.found.length === 0 && !out.next && out.sure && <Text size="sm">{t('find_none')}</Text>}
          {out.found.length === 0 && out.next && (
            <Group gap="sm">
              <Text size="sm">{t('find_so_far')} <When at={out.looked_back_to} /></Text>
              <Button size="compact-sm" variant="default" loading={going} onClick={() => void find(out.next)}>{t('find_further')}</Button>
            </Group>
          )}
          {out.found.map((f) => (
            <div key={f.object + f.id + f.by}>
              <Id id={f.id} whole /> <Text span size="sm" c="dimmed">{t.maybe(`by_${f.by}`) ?? f.by}{f.state ? ` · ${t.maybe(`state_${f.state}`) ?? f.state}` : ''}</Text>
            </div>
          ))}
          {!out.sure && <Text size="sm" c="dimmed">{t('find_unsure')}</Text>}
        </div>
      )}
    </form>
  );
}

function Filters() {
  const t = useWords(words);
  return (
    <div className={classes.filters}>
      <Choice name="status" all={statuses} prefix="status_" />
      <Choice name="state" all={states} prefix="state_" />
      <Choice name="kind" all={kinds} prefix="kind_" />
      <Text_ name="channel" hint="bank-ab" />
      <Text_ name="account" hint="acct_…" />
      <RangePick spans={['1h', '24h', '7d', '30d']} label={t('filter_created')} />
      <Clear label={t('clear')} />
    </div>
  );
}

function Choice({ name, all, prefix }: { name: string; all: readonly string[]; prefix: string }) {
  const t = useWords(words);
  const [value, set] = useParam(name);
  return (
    <NativeSelect
      size="xs"
      label={t.maybe(`filter_${name}`)}
      value={value}
      onChange={(e) => set(e.currentTarget.value)}
      data={[{ value: '', label: t('any') }, ...all.map((v) => ({ value: v, label: t.maybe(prefix + v) ?? v }))]}
    />
  );
}

function Text_({ name, hint }: { name: string; hint: string }) {
  const t = useWords(words);
  const [value, set] = useParam(name);
  const [text, setText] = useState(value);
  const later = useDebouncedCallback((v: string) => set(v.trim()), 400);
  useEffect(() => setText(value), [value]);
  return (
    <TextInput
      size="xs"
      label={t.maybe(`filter_${name}`)}
      placeholder={hint}
      value={text}
      onChange={(e) => {
        setText(e.currentTarget.value);
        later(e.currentTarget.value);
      }}
    />
  );
}

function Clear({ label }: { label: string }) {
  const go = useGo();
  return (
    <Button size="xs" variant="subtle" onClick={() => go('/payments')}>
      {label}
    </Button>
  );
}

/** Csv saves what is shown; amounts with a point, times in UTC. */
function Csv({ rows }: { rows: Payment[] }) {
  const t = useWords(words);
  const save = () => {
    const quote = (v: string) => (/[",\n]|^[=+\-@]/.test(v) ? `"${(/^[=+\-@]/.test(v) ? `'${v}` : v).replace(/"/g, '""')}"` : v);
    const lines = [
      ['id', 'created_at', 'kind', 'state', 'amount', 'asset', 'fee', 'from', 'to', 'channel', 'reference', 'final_at', 'settlement'].join(','),
      ...rows.map((p) => [p.id, p.created_at, p.kind, p.state, decimal(p.amount, p.asset), p.asset, decimal(p.fee, p.asset), p.from ?? '', p.to ?? '', p.channel ?? '', p.reference ?? '', p.final_at ?? '', p.settlement].map(quote).join(',')),
    ];
    const url = URL.createObjectURL(new Blob([`${lines.join('\n')}\n`], { type: 'text/csv' }));
    const a = document.createElement('a');
    a.href = url;
    a.download = `payments-${new Date().toISOString().slice(0, 19).replace(/:/g, '')}.csv`;
    a.click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };
  return (
    <Button size="compact-sm" variant="default" disabled={rows.length === 0} onClick={save}>
      {t('csv', { n: rows.length })}
    </Button>
  );
}

/** mapTones is how the road's own sentence looks here. */
const mapTones: Record<string, Tone> = { fine: 'good', waiting: 'wait', stalled: 'bad', unknown: 'idle' };

const rowHeight = 44;

/** Rows draws only those that are seen: ten thousand cost as much as twenty. */
function Rows({ rows, more }: { rows: Payment[]; more: () => void }) {
  const t = useWords(words);
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const height = Math.min(rows.length * rowHeight + 40, Math.max(320, Math.round(window.innerHeight * 0.66)));
  const first = Math.max(0, Math.floor(top / rowHeight) - 8);
  const last = Math.min(rows.length, first + Math.ceil(height / rowHeight) + 16);
  const scrolled = () => {
    const el = box.current;
    if (!el) return;
    setTop(el.scrollTop);
    if (el.scrollHeight - el.scrollTop - el.clientHeight < 6 * rowHeight) more();
  };
  return (
    <div ref={box} className={classes.list} style={{ maxHeight: height }} onScroll={scrolled} tabIndex={0} role="region" aria-label={t('list')}>
      <table aria-rowcount={rows.length + 1}>
        <thead>
          <tr>
            <th scope="col">{t('state')}</th>
            <th scope="col" className={classes.right}>{t('amount')}</th>
            <th scope="col">{t('kind')}</th>
            <th scope="col">{t('way')}</th>
            <th scope="col">{t('created')}</th>
            <th scope="col">{t('age')}</th>
            <th scope="col">{t('payment')}</th>
          </tr>
        </thead>
        <tbody>
          {first > 0 && <tr aria-hidden style={{ height: first * rowHeight }}><td colSpan={7} /></tr>}
          {rows.slice(first, last).map((p, i) => (
            <tr key={p.id} aria-rowindex={first + i + 2} style={{ height: rowHeight }}>
              <td><State tone={toneOf(p)}>{t.maybe(`state_${p.state}`) ?? p.state}</State></td>
              <td className={classes.right}><Money amount={p.amount} asset={p.asset} strong /></td>
              <td>{t.maybe(`kind_${p.kind}`) ?? p.kind}</td>
              <td className={classes.way}><Way p={p} /></td>
              <td><When at={p.created_at} age={false} /></td>
              <td>{p.final_at ? <span className={classes.dim}>—</span> : <Late p={p} />}</td>
              <td><Go to={`/payments/${p.id}`} className={classes.open}>{p.id}</Go></td>
            </tr>
          ))}
          {last < rows.length && <tr aria-hidden style={{ height: (rows.length - last) * rowHeight }}><td colSpan={7} /></tr>}
        </tbody>
      </table>
    </div>
  );
}

/** Way is between whom it goes, by which channel. */
export function Way({ p }: { p: Payment }) {
  const ends = [p.from ?? p.channel, p.to ?? p.payee?.account ?? (p.from ? p.channel : undefined)].filter(Boolean) as string[];
  return (
    <>
      {ends.map((e, i) => (
        <span key={i}>
          {i > 0 && ' → '}
          {e.startsWith('acct_') ? <Id id={e} /> : e}
        </span>
      ))}
      {p.channel && p.payee && <span className={classes.dim}> · {p.channel}</span>}
    </>
  );
}

function Late({ p }: { p: Payment }) {
  const t = useWords(words);
  const tick = useTick();
  const span = useSpan();
  const age = span('for', (tick - new Date(p.created_at).getTime()) / 1000);
  const late = p.deadline && new Date(p.deadline).getTime() < tick;
  return late ? <State tone="wait">{age}, {t('late')}</State> : <span className={classes.figure}>{age}</span>;
}
