import { Button, Group, SegmentedControl, Stack, Text } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { useState } from 'react';
import { ask, Problem as Refusal, useGo, useLook, useParam } from '../../data';
import { Empty, Go, Panel, Problem, Sentence, Shown, Title, Twin } from '../../parts';
import { useWords } from '../../words/words';
import classes from './latency.module.css';
import words from './words.json';

type Hop = { hop: string; source: string; bounds: number[]; columns: { at: string; counts: number[] }[]; every_s: number; count: number; p50_s: number; p95_s: number; p99_s: number };
type Exemplar = { trace_id: string; payment: string; at: string; took_s: number; exact: boolean };
type Tail = { traces: number; tail: number; p50_s: number; p99_s: number; hops: { hop: string; share: number; usual: number; mean_s: number }[]; slowest?: Exemplar };
type Look = { at: string; says: string; hops: Hop[]; tail: Tail };

/** Rows and columns of a distribution that are asked for. */
type Cell = { hop: string; from: string; until: string; low: number; high: number };

export function time(s: number): string {
  if (s < 0.001) return `${Math.round(s * 1e6)} µs`;
  if (s < 1) return `${+(s * 1000).toFixed(s < 0.01 ? 1 : 0)} ms`;
  return `${+s.toFixed(s < 10 ? 2 : 0)} s`;
}

export default function Latency() {
  const t = useWords(words);
  const look = useLook<Look>(`/latency?lang=${t.lang}`, { every: 10_000, keep: true });
  return (
    <>
      <Title right={<Twin cmd="moneta latency" />}>{t('title')}</Title>
      <Sentence tone={look.data?.hops.length || look.data?.tail.traces ? 'info' : 'idle'}>{look.data?.says ?? t('loading')}</Sentence>
      <Shown of={look} rows={8}>{(d) => <All d={d} />}</Shown>
    </>
  );
}

function All({ d }: { d: Look }) {
  const t = useWords(words);
  const go = useGo();
  const [hop, setHop] = useParam('hop');
  const [found, setFound] = useState<Exemplar | null>(null);
  const [problem, setProblem] = useState<Refusal | null>(null);
  const of = d.hops.find((h) => h.hop === hop) ?? d.hops[0];
  const open = async (c: Cell) => {
    setProblem(null);
    setFound(null);
    try {
      const q = new URLSearchParams({ hop: c.hop, from: c.from, until: c.until, low: String(c.low), high: String(c.high) });
      const { data } = await ask<Exemplar>(`/api/look/latency/exemplar?${q}`);
      if (data.exact) go(`/payments/${data.payment}`);
      else setFound(data);
    } catch (e) {
      setProblem(e instanceof Refusal ? e : new Refusal('', 0, { code: 'page', detail: String(e) }));
    }
  };
  return (
    <Stack gap="md">
      <Panel title={t('tail')}>{d.tail.hops.length === 0 ? <Empty title={t('tail_none')}>{t('tail_none_do')}</Empty> : <TailOf tail={d.tail} />}</Panel>
      <Panel title={t('heat')}>
        {!of ? (
          <Empty title={t('heat_none')}>{t('heat_none_do')}</Empty>
        ) : (
          <>
            <div className={classes.hops}>
              <SegmentedControl aria-label={t('hop')} size="xs" value={of.hop} onChange={(v) => setHop(v)} data={d.hops.map((h) => ({ value: h.hop, label: t.maybe(`hop_${h.hop}`) ?? h.hop }))} />
            </div>
            <Heat of={of} open={open} />
            {found && (
              <Text size="sm" mt="xs" role="status">
                {t('nearest', { took: time(found.took_s) })} <Go to={`/payments/${found.payment}`}>{found.payment}</Go>
              </Text>
            )}
            {problem && <Problem of={problem} />}
          </>
        )}
      </Panel>
    </Stack>
  );
}

function TailOf({ tail }: { tail: Tail }) {
  const t = useWords(words);
  const pct = (n: number) => `${(100 * n).toFixed(n < 0.1 ? 1 : 0)} %`;
  return (
    <>
      <Text size="sm" mb="xs">{t('tail_says', { n: tail.tail, of: tail.traces, p50: time(tail.p50_s), p99: time(tail.p99_s) })}</Text>
      <table className={classes.parts}>
        <thead>
          <tr>
            <th scope="col">{t('hop')}</th>
            <th scope="col">{t('share')}</th>
            <th scope="col">{t('usual')}</th>
            <th scope="col">{t('mean')}</th>
          </tr>
        </thead>
        <tbody>
          {tail.hops.map((p) => (
            <tr key={p.hop}>
              <th scope="row">{t.maybe(`hop_${p.hop}`) ?? p.hop}</th>
              <td>
                <span className={classes.bar} aria-hidden><span style={{ width: `${100 * p.share}%` }} /></span> {pct(p.share)}
              </td>
              <td>{pct(p.usual)}</td>
              <td>{time(p.mean_s)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {tail.slowest?.payment && (
        <Text size="sm" mt="xs">
          {t('slowest', { took: time(tail.slowest.took_s) })} <Go to={`/payments/${tail.slowest.payment}`}>{tail.slowest.payment}</Go>
        </Text>
      )}
    </>
  );
}

const rowHigh = 17;

function Heat({ of, open }: { of: Hop; open: (c: Cell) => void }) {
  const t = useWords(words);
  const { ref, width } = useElementSize();
  const totals = of.bounds.map((_, i) => sum(of, i)).concat(sum(of, of.bounds.length));
  const used = totals.map((n, i) => (n > 0 ? i : -1)).filter((i) => i >= 0);
  const low = Math.max(0, (used[0] ?? 0) - 1);
  const high = Math.min(of.bounds.length, (used[used.length - 1] ?? 0) + 1);
  const rows = Array.from({ length: high - low + 1 }, (_, i) => high - i);
  const first = new Date(of.columns[0]!.at).getTime();
  const last = new Date(of.columns[of.columns.length - 1]!.at).getTime();
  const every = of.every_s * 1000;
  const n = Math.max(20, (last - first) / every + 1);
  const start = last + every - n * every; // the newest stands at the right, however short the history
  const label = 66;
  const room = Math.max(60, width - label);
  const w = room / n;
  const most = Math.max(...of.columns.flatMap((c) => c.counts));
  const name = (row: number) => (row < of.bounds.length ? `≤ ${time(of.bounds[row]!)}` : `> ${time(of.bounds[row - 1]!)}`);
  const bounds = (row: number) => ({ low: row > 0 ? of.bounds[row - 1]! : 0, high: row < of.bounds.length ? of.bounds[row]! : 0 });
  const says = t('heat_says', { hop: t.maybe(`hop_${of.hop}`) ?? of.hop, n: of.count.toLocaleString('en'), p50: time(of.p50_s), p95: time(of.p95_s), p99: time(of.p99_s) });
  const clock = (ms: number) => new Date(ms).toISOString().slice(11, 16);
  const cell = (row: number, from: number, until: number): Cell => ({ hop: of.hop, from: new Date(from).toISOString(), until: new Date(until).toISOString(), ...bounds(row) });
  return (
    <div ref={ref}>
      <Text size="sm" mb="xs">{says}</Text>
      {width > 0 && (
        <svg width={width} height={rows.length * rowHigh + 20} role="img" aria-label={says} className={classes.heat}>
          {rows.map((row, i) => (
            <text key={row} x={label - 8} y={i * rowHigh + 13} textAnchor="end">{name(row)}</text>
          ))}
          {of.columns.map((c) => {
            const at = new Date(c.at).getTime();
            const x = label + ((at - start) / every) * w;
            return rows.map((row, i) => {
              const count = c.counts[row] ?? 0;
              if (count === 0) return null;
              // By the logarithm: one slow request among a thousand is to be seen.
              const strength = 0.18 + 0.82 * (Math.log1p(count) / Math.log1p(most));
              return (
                <rect key={`${c.at}${row}`} x={x} y={i * rowHigh + 1} width={Math.max(2, w - 1)} height={rowHigh - 2} opacity={strength} onClick={() => open(cell(row, at, at + every))}>
                  <title>{`${clock(at)} UTC · ${name(row)} · ${count}`}</title>
                </rect>
              );
            });
          })}
          <text x={label} y={rows.length * rowHigh + 15}>{clock(start)}</text>
          <text x={label + room} y={rows.length * rowHigh + 15} textAnchor="end">{clock(last + every)} UTC</text>
        </svg>
      )}
      <Text size="xs" c="dimmed">{t('heat_how', { source: of.source })}</Text>
      <details className={classes.story}>
        <summary>{t('rows')}</summary>
        <div className={classes.scroll} tabIndex={0} role="region" aria-label={t('rows')}>
          <table className={classes.parts}>
            <thead>
              <tr>
                <th scope="col">{t('took')}</th>
                <th scope="col">{t('count')}</th>
                <th scope="col">{t('example')}</th>
              </tr>
            </thead>
            <tbody>
              {rows.filter((row) => totals[row]! > 0).map((row) => (
                <tr key={row}>
                  <th scope="row">{name(row)}</th>
                  <td>{totals[row]!.toLocaleString('en')}</td>
                  <td>
                    <Group gap={6}>
                      <Button size="compact-xs" variant="default" aria-label={t('open_one', { row: name(row) })} onClick={() => open(cell(row, first, last + every))}>{t('open')}</Button>
                    </Group>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </div>
  );
}

function sum(of: Hop, row: number): number {
  return of.columns.reduce((n, c) => n + (c.counts[row] ?? 0), 0);
}
