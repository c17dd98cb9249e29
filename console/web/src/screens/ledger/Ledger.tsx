import { Button, Group, SegmentedControl, Slider, Stack, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useEffect, useState } from 'react';
import { amountText, useParam, usePay } from '../../data';
import { AsCurl, Go, Id, Panel, Plain, Shown, State, Title, Twin, When } from '../../parts';
import { momentText } from '../../parts/time';
import { Rows, usePages, type RowColumn } from '../../parts/rows';
import { TAccounts } from '../../parts/taccount';
import { Loading, Problem, Empty } from '../../parts';
import { useWords } from '../../words/words';
import { Curve, type Point } from './Curve';
import { Invariants } from './Invariants';
import classes from './ledger.module.css';
import words from './words.json';

export type Account = { id: string; asset: string; name: string; kind: 'user' | 'house' | 'system'; floor?: string; status: string; frozen?: { refuses: string; reason: string }; created_at: string; balances?: { available: string; held: string } };
type Side = { account: string; name: string; kind: string; book: string; balance: string };
export type Transfer = { id: number; payment: string; kind?: string; amount: string; asset: string; debit: Side; credit: Side; transition: string; effective_at: string; booked_at: string };
type Entry = { transfer: number; payment: string; kind?: string; book: string; counterparty: string; amount: string; balance: string; transition: string; booked_at: string };
type List<T> = { data: T[]; has_more: boolean; next?: string };

/** widthOf is a column that no figure of it is cut off in. */
const widthOf = (texts: string[]) => `${(texts.reduce((n, x) => Math.max(n, x.length), 9) * 0.6).toFixed(1)}em`;

/** justAfter is the microsecond after an instant: a balance as of it counts what was booked
 *  then, and a statement leaves its end out. */
function justAfter(at: string): string {
  const m = /^(.+T\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?Z$/.exec(at);
  if (!m) return at;
  const micros = Number((m[2] ?? '').padEnd(6, '0')) + 1;
  return micros < 1e6 ? `${m[1]}.${String(micros).padStart(6, '0')}Z` : new Date(Date.parse(`${m[1]}Z`) + 1000).toISOString();
}

const spans = { '1h': 3_600_000, '1d': 86_400_000, '7d': 604_800_000, '30d': 2_592_000_000, '1y': 31_536_000_000 } as const;
type SpanKey = keyof typeof spans;

export default function Ledger() {
  const t = useWords(words);
  const [account] = useParam('account');
  const [asOf] = useParam('as_of');
  const [transfer] = useParam('transfer');
  return (
    <>
      <Title right={<><AsCurl call={{ path: account ? `/v1/accounts/${account}/balances${asOf ? `?as_of=${asOf}` : ''}` : `/v1/transfers${asOf ? `?as_of=${asOf}` : ''}` }} /><Twin cmd={transfer ? `moneta transfer show ${transfer}` : account ? `moneta account show ${account}${asOf ? ` --as-of ${asOf}` : ''}` : `moneta transfer list${asOf ? ` --as-of ${asOf}` : ''}`} /></>}>{t('title')}</Title>
      <Invariants />
      <Stack gap="md">
        <AsOf />
        <div className={`${classes.columns} ${account ? classes.chosen : ''}`}>
          <Tree />
          <Stack gap="md" style={{ minWidth: 0 }}>
            {transfer && <One id={transfer} />}
            {account ? <OneAccount id={account} /> : <AllTransfers />}
          </Stack>
        </div>
      </Stack>
    </>
  );
}

/** AsOf is the slider through time: at its right end everything is as it is now. */
function AsOf() {
  const t = useWords(words);
  const [asOf, setAsOf] = useParam('as_of');
  const [span, setSpan] = useParam('span', '1d');
  const length = spans[span as SpanKey] ?? spans['1d'];
  // The window stands still while it is looked at.
  const [end, setEnd] = useState(() => Date.now());
  useEffect(() => setEnd(Date.now()), [span, asOf === '']); // eslint-disable-line
  const at = asOf ? new Date(asOf).getTime() : end;
  const place = (ms: number) => Math.max(0, Math.min(1000, Math.round(1000 - (1000 * (end - ms)) / length)));
  const timeOf = (v: number) => new Date(end - (length * (1000 - v)) / 1000);
  const [v, setV] = useState(place(at));
  useEffect(() => setV(place(at)), [at, end, length]); // eslint-disable-line
  const text = v >= 1000 ? t('now') : momentText(timeOf(v), t.lang);
  return (
    <Panel
      title={asOf ? t('as_of', { at: momentText(new Date(asOf), t.lang) }) : t('as_of_now')}
      right={
        <Group gap="xs">
          <SegmentedControl size="xs" aria-label={t('window')} value={span} onChange={setSpan} data={(Object.keys(spans) as SpanKey[]).map((k) => ({ value: k, label: t(`span_${k}`) }))} />
          {asOf && <Button size="compact-sm" variant="default" onClick={() => setAsOf('')}>{t('to_now')}</Button>}
        </Group>
      }
    >
      <div className={classes.slider}>
        <Slider
          min={0}
          max={1000}
          value={v}
          onChange={setV}
          onChangeEnd={(x) => setAsOf(x >= 1000 ? '' : timeOf(x).toISOString())}
          label={text}
          thumbLabel={t('slider')}
          thumbProps={{ 'aria-valuetext': text }}
        />
      </div>
      <Group justify="space-between">
        <Text size="sm" c="dimmed">{momentText(end - length, t.lang)}</Text>
        <Text size="sm" fw={600} data-testid="as-of">{text}</Text>
        <Text size="sm" c="dimmed">{t('now')}</Text>
      </Group>
    </Panel>
  );
}

const groups = [
  { key: 'clearing', is: (n: string) => n.startsWith('clr:') },
  { key: 'nostro', is: (n: string) => n.startsWith('nostro:') },
  { key: 'fees', is: (n: string) => n.startsWith('fee:') },
  { key: 'other', is: () => true },
] as const;

/** Tree is the chart of accounts with what each has, or had. */
function Tree() {
  const t = useWords(words);
  const [asOf] = useParam('as_of');
  const [q, setQ] = useParam('q');
  const [text, setText] = useState(q);
  const [search] = useDebouncedValue(text, 250);
  useEffect(() => setQ(search), [search, setQ]);
  const stand = `balances=${asOf || 'now'}`;
  const every = asOf ? undefined : 10_000;
  const system = usePay<List<Account>>(`/v1/accounts?kind=system&limit=99&${stand}`, { every, keep: true });
  const house = usePay<List<Account>>(`/v1/accounts?kind=house&limit=50&${stand}`, { every, keep: true });
  const users = usePay<List<Account>>(`/v1/accounts?kind=user&limit=50&${stand}${q ? `&name=${encodeURIComponent(q)}` : ''}`, { every, keep: true });
  return (
    <Panel title={t('accounts')} right={<Twin cmd={`moneta account list${asOf ? ` --as-of ${asOf}` : ''}`} />}>
      <Go to="/ledger">{t('all_transfers')}</Go>
      <Shown of={system} rows={6}>
        {(l) => {
          const left = new Set(l.data);
          return (
            <>
              {groups.map((g) => {
                const of = [...left].filter((a) => g.is(a.name));
                for (const a of of) left.delete(a);
                return of.length === 0 ? null : <Branch key={g.key} name={t(`group_of_${g.key}`)} of={of} />;
              })}
              {l.has_more && <Text size="sm" c="dimmed">{t('more_system')}</Text>}
            </>
          );
        }}
      </Shown>
      <Shown of={house} rows={2} quiet>{(l) => (l.data.length === 0 ? null : <Branch name={t('house')} of={l.data} more={l.has_more} />)}</Shown>
      <TextInput size="xs" mt="sm" label={t('search')} value={text} maxLength={100} onChange={(e) => setText(e.currentTarget.value)} />
      <Shown of={users} rows={4} quiet>
        {(l) => (l.data.length === 0 ? <Text size="sm" c="dimmed" mt="xs">{t('nobody')}</Text> : <Branch name={t('holders')} of={l.data} more={l.has_more} />)}
      </Shown>
    </Panel>
  );
}

function Branch({ name, of, more }: { name: string; of: Account[]; more?: boolean }) {
  const t = useWords(words);
  const [account, setAccount] = useParam('account');
  return (
    <details open className={classes.branch}>
      <summary>{name} <span className={classes.dim}>{of.length}{more ? '+' : ''}</span></summary>
      <ul className={classes.tree}>
        {of.map((a) => (
          <li key={a.id} className={a.id === account ? classes.picked : undefined}>
            <Plain onClick={() => setAccount(a.id, true)}>{a.name || a.id}</Plain>
            <span className={classes.figure}>
              {a.status === 'frozen' && <State tone="wait">{t('frozen')}</State>} {a.balances ? amountText(a.balances.available, a.asset) : '—'}
            </span>
          </li>
        ))}
      </ul>
      {more && <Text size="sm" c="dimmed">{t('more_accounts')}</Text>}
    </details>
  );
}

type Balances = { asset: string; available: string; held: string; on_the_way: string; as_of: string };

function OneAccount({ id }: { id: string }) {
  const t = useWords(words);
  const [asOf] = useParam('as_of');
  const [span] = useParam('span', '1d');
  const [transfer, setTransfer] = useParam('transfer');
  const account = usePay<Account>(`/v1/accounts/${id}`);
  const balances = usePay<Balances>(`/v1/accounts/${id}/balances${asOf ? `?as_of=${asOf}` : ''}`, { every: asOf ? undefined : 5_000, keep: true });
  const [end, setEnd] = useState(() => new Date());
  useEffect(() => setEnd(new Date()), [span, id]);
  const from = new Date(end.getTime() - (spans[span as SpanKey] ?? spans['1d']));
  const curve = usePay<{ data: Point[] }>(`/v1/accounts/${id}/curve?from=${from.toISOString()}&to=${end.toISOString()}&points=120`, { keep: true });
  const statement = usePages<Entry>(`/v1/accounts/${id}/statement?limit=100${asOf ? `&to=${justAfter(asOf)}` : ''}`, asOf ? undefined : 5_000);
  const asset = account.data?.asset ?? '';
  const wide = widthOf((statement.rows ?? []).flatMap((e) => [amountText(e.amount, asset), amountText(e.balance, asset)]));
  const columns: RowColumn<Entry>[] = [
    { name: t('booked'), width: '118px', of: (e) => <When at={e.booked_at} age={false} /> },
    { name: t('transfer'), width: '74px', of: (e) => <Plain onClick={() => setTransfer(String(e.transfer))}>#{e.transfer}</Plain> },
    { name: t('amount'), width: wide, right: true, of: (e) => amountText(e.amount, asset) },
    { name: t('after'), width: wide, right: true, of: (e) => amountText(e.balance, asset) },
    { name: t('payment'), width: '158px', of: (e) => <Id id={e.payment} /> },
    { name: t('why'), width: 'minmax(80px, 1fr)', of: (e) => `${e.kind ?? ''} ${e.transition}` },
  ];
  return (
    <>
      <Panel
        title={account.data?.name || id}
        right={account.data && (account.data.frozen ? <State tone="wait">{t(account.data.frozen.refuses === 'all' ? 'frozen_all' : 'frozen_debits')}: {account.data.frozen.reason}</State> : <State tone="good">{t('active')}</State>)}
      >
        <Shown of={account} rows={1} quiet>
          {(a) => <Text size="sm" c="dimmed"><Id id={a.id} link={false} /> · {t(`kind_${a.kind}`)} · {a.asset}{a.floor !== undefined && ` · ${t('floor')} ${amountText(a.floor, a.asset)}`}</Text>}
        </Shown>
        <Shown of={balances} rows={2}>
          {(b) => (
            <dl className={classes.balances}>
              <div><dt>{t('available')}</dt><dd data-testid="available">{amountText(b.available, b.asset)}</dd></div>
              <div><dt>{t('held')}</dt><dd>{amountText(b.held, b.asset)}</dd></div>
              <div><dt>{t('on_the_way')}</dt><dd>{amountText(b.on_the_way, b.asset)}</dd></div>
            </dl>
          )}
        </Shown>
        <Shown of={curve} rows={4}>{(c) => <Curve points={c.data} asset={asset} at={asOf} label={t('curve_label', { name: account.data?.name || id })} />}</Shown>
      </Panel>
      <Panel title={t('postings')} right={<Twin cmd={`moneta account postings ${id}${asOf ? ` --to ${justAfter(asOf)}` : ''}`} />}>
        {statement.problem && <Problem of={statement.problem} again={statement.refetch} />}
        {statement.loading && <Loading />}
        {statement.rows?.length === 0 && <Empty title={t('no_postings')}>{t('no_postings_why')}</Empty>}
        {statement.rows && statement.rows.length > 0 && <Rows rows={statement.rows} columns={columns} label={t('postings')} least={730} keyOf={(e) => e.transfer} onEnd={statement.more} picked={(e) => String(e.transfer) === transfer} />}
      </Panel>
    </>
  );
}

function AllTransfers() {
  const t = useWords(words);
  const [asOf] = useParam('as_of');
  const [transfer, setTransfer] = useParam('transfer');
  const all = usePages<Transfer>(`/v1/transfers?limit=99${asOf ? `&as_of=${asOf}` : ''}`, asOf ? undefined : 5_000);
  const columns: RowColumn<Transfer>[] = [
    { name: t('booked'), width: '118px', of: (x) => <When at={x.booked_at} age={false} /> },
    { name: t('transfer'), width: '74px', of: (x) => <Plain onClick={() => setTransfer(String(x.id))}>#{x.id}</Plain> },
    { name: t('from_account'), width: 'minmax(104px, 1fr)', of: (x) => <Go to={`/ledger?account=${x.debit.account}`}>{x.debit.name || x.debit.account}</Go> },
    { name: t('to_account'), width: 'minmax(104px, 1fr)', of: (x) => <Go to={`/ledger?account=${x.credit.account}`}>{x.credit.name || x.credit.account}</Go> },
    { name: t('amount'), width: widthOf((all.rows ?? []).map((x) => amountText(x.amount, x.asset))), right: true, of: (x) => amountText(x.amount, x.asset) },
    { name: t('payment'), width: '158px', of: (x) => <Id id={x.payment} /> },
  ];
  return (
    <Panel title={t('all_transfers')}>
      {all.problem && <Problem of={all.problem} again={all.refetch} />}
      {all.loading && <Loading rows={8} />}
      {all.rows?.length === 0 && <Empty title={t('no_postings')}>{t('no_postings_why')}</Empty>}
      {all.rows && all.rows.length > 0 && <Rows rows={all.rows} columns={columns} height={560} label={t('all_transfers')} least={700} keyOf={(x) => x.id} onEnd={all.more} picked={(x) => String(x.id) === transfer} />}
    </Panel>
  );
}

/** One is a transfer as two T-accounts that sum to zero. */
function One({ id }: { id: string }) {
  const t = useWords(words);
  const [, setTransfer] = useParam('transfer');
  const found = usePay<Transfer>(`/v1/transfers/${id}`);
  return (
    <Panel title={t('transfer_n', { n: id })} right={<Button size="compact-sm" variant="default" onClick={() => setTransfer('')}>{t('close')}</Button>}>
      <Shown of={found} rows={3}>
        {(x) => (
          <>
            <TAccounts
              debit={{ ...x.debit, book: t(x.debit.book === 'held' ? 'held' : 'available') }}
              credit={{ ...x.credit, book: t(x.credit.book === 'held' ? 'held' : 'available') }}
              amount={x.amount}
              asset={x.asset}
              says={{ out: t('leaves'), in: t('arrives'), after: t('after'), zero: t('zero', { zero: amountText('0', x.asset) }) }}
            />
            <Text size="sm" c="dimmed" mt="sm">
              <Id id={x.payment} /> · {x.kind} · {x.transition} · <When at={x.booked_at} />
            </Text>
          </>
        )}
      </Shown>
    </Panel>
  );
}
