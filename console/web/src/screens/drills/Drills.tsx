import { Button, Group, SegmentedControl, Stack, Table, Text } from '@mantine/core';
import { useEffect, useRef } from 'react';
import { may, useDo, useLook, useParam, useSession } from '../../data';
import { clockText, Empty, Panel, Problem, RangePick, Sentence, Shown, State, Title, Twin, When, Wide, useRange, useSpan, useTick, type Tone } from '../../parts';
import { useWords } from '../../words/words';
import classes from './drills.module.css';
import { Picture } from './pictures';
import words from './words.json';

type Card = { name: string; class: string; about: { en: string; zh: string }; world: string; missing?: string; needs: string[]; stall: boolean; control: boolean; alone: boolean; causes: string[] };
type Row = {
  drill: string; class: string; seed: number; status: string; why?: string; at: string; control: boolean; points: number; top1: boolean; top3: boolean;
  detect_s: number | null; contain_s: number | null; repair_s: number | null; proof_s: number | null;
  harmful?: string[]; false_pages: number; invariants_broken?: string[]; ranked?: string[]; wanted?: string; took_s: number;
};
type RunOf = { id: string; names: string[]; seed: number; by: string; began: string; deadline: string; ended_at?: string; state: string; lines: { at: string; text: string }[]; rows: Row[] };
type Answer = { drills: Card[]; rows: Row[]; run: RunOf | null; allowed: boolean; why: string };

const red = (r: Row) => (r.harmful?.length ?? 0) + r.false_pages + (r.invariants_broken?.length ?? 0) > 0;

export default function Drills() {
  const t = useWords(words);
  const { session } = useSession();
  const [kind, setKind] = useParam('class');
  const all = useLook<Answer>('/drills', { every: 15_000, keep: true });
  const going = useLook<{ run: RunOf | null }>('/drills/run', { every: 1000, keep: true });
  const run = going.data?.run ?? all.data?.run ?? null;
  const running = !!run && !run.ended_at;
  const ended = run?.ended_at;
  const { refetch } = all;
  useEffect(() => {
    if (ended) refetch();
  }, [ended]); // eslint-disable-line
  const start = useDo<{ run: RunOf }, string>((name) => ({ path: '/api/look/drills/run', body: { names: [name], seed: 1 + Math.floor(Math.random() * 1000) } }), ['/api/look/drills']);
  const cancel = useDo<unknown>(() => ({ path: '/api/look/drills/run', method: 'DELETE' }), ['/api/look/drills']);
  const operator = may(session, 'operator');
  return (
    <>
      <Title right={<Twin cmd="moneta drill run --quick" />}>{t('title')}</Title>
      <Shown of={all} rows={8}>
        {(d) => {
          const scored = d.rows.filter((r) => r.status === 'scored');
          const bad = scored.filter(red).length;
          const classesOf = [...new Set(d.drills.map((x) => x.class))];
          const shown = d.drills.filter((x) => !kind || x.class === kind);
          return (
            <Stack gap="md">
              <Sentence tone={running ? 'wait' : bad > 0 ? 'bad' : scored.length > 0 ? 'good' : 'idle'}>
                {running ? t('running', { name: run.names.join(', ') }) : scored.length === 0 ? t('never_run', { n: d.drills.length }) : bad > 0 ? t('some_bad', { n: scored.length, bad }) : t('all_good', { n: scored.length, points: average(scored) })}
              </Sentence>
              {start.error && <Problem of={start.error} />}
              {cancel.error && <Problem of={cancel.error} />}
              {!d.allowed && <Text size="sm">{t('not_allowed')} <Text span size="sm" c="dimmed">{d.why}</Text></Text>}
              {run && <Live run={run} cancel={operator ? () => cancel.mutate() : undefined} cancelling={cancel.isPending} />}
              <Scores rows={scored} />
              <Panel title={t('gallery')} right={<SegmentedControl size="xs" value={kind} onChange={setKind} data={[{ value: '', label: t('all') }, ...classesOf.map((c) => ({ value: c, label: t.maybe(`class_${c}`) ?? c }))]} style={{ maxWidth: '100%', overflowX: 'auto' }} />}>
                <ul className={classes.gallery}>
                  {shown.map((x) => (
                    <DrillCard key={x.name} x={x} last={d.rows.findLast((r) => r.drill === x.name)} running={running && !!run?.names.includes(x.name)} start={operator && d.allowed && !running && !x.missing ? () => start.mutate(x.name) : undefined} busy={start.isPending} />
                  ))}
                </ul>
              </Panel>
            </Stack>
          );
        }}
      </Shown>
    </>
  );
}

const average = (rows: Row[]) => Math.round(rows.reduce((s, r) => s + r.points, 0) / Math.max(1, rows.length));

function DrillCard({ x, last, running, start, busy }: { x: Card; last?: Row; running: boolean; start?: () => void; busy: boolean }) {
  const t = useWords(words);
  return (
    <li className={classes.card} data-running={running ? '' : undefined}>
      <Picture of={x.class} label={t.maybe(`class_${x.class}`) ?? x.class} />
      <div className={classes.name}>{x.name}</div>
      <div className={classes.about}>{x.about[t.lang]}</div>
      <div className={classes.foot}>
        <span className={classes.dim}>{x.missing ? t('needs', { what: x.missing }) : last ? <Score r={last} /> : t('not_run')}</span>
        {start && <Button size="compact-sm" variant="default" onClick={start} loading={busy} aria-label={t('run_name', { name: x.name })}>{t('run')}</Button>}
        {running && <State tone="wait">{t('under_way')}</State>}
      </div>
    </li>
  );
}

function Score({ r }: { r: Row }) {
  const t = useWords(words);
  if (r.status !== 'scored') return <State tone="idle">{t.maybe(`status_${r.status}`) ?? r.status}</State>;
  const tone: Tone = red(r) ? 'bad' : r.points >= 80 ? 'good' : 'wait';
  return <State tone={tone}>{t('points', { n: r.points })}</State>;
}

const states: Record<string, Tone> = { running: 'wait', cancelling: 'wait', done: 'good', red: 'bad', failed: 'bad', cancelled: 'idle' };

/** Live is the run that goes on, line by line, or the last one. */
function Live({ run, cancel, cancelling }: { run: RunOf; cancel?: () => void; cancelling: boolean }) {
  const t = useWords(words);
  const span = useSpan();
  const tick = useTick();
  const box = useRef<HTMLPreElement>(null);
  const goes = !run.ended_at;
  useEffect(() => {
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [run.lines.length]);
  return (
    <Panel
      title={<>{run.names.join(', ')} <Text span size="sm" c="dimmed" fw={400}>{t('by', { who: run.by })}</Text></>}
      right={<Group gap="sm"><State tone={states[run.state] ?? 'idle'}>{t.maybe(`state_${run.state}`) ?? run.state}</State>{goes && cancel && <Button size="compact-sm" variant="default" loading={cancelling || run.state === 'cancelling'} onClick={cancel}>{t('cancel')}</Button>}</Group>}
    >
      <Stack gap="xs">
        <Text size="sm" c="dimmed">
          {goes ? t('since_until', { since: span('for', (tick - new Date(run.began).getTime()) / 1000), until: span('in', (new Date(run.deadline).getTime() - tick) / 1000) }) : <>{t('ended')} <When at={run.ended_at} /></>}
        </Text>
        {goes && <Text size="sm">{t('own_world')}</Text>}
        <pre ref={box} className={classes.log} tabIndex={0} role="log" aria-label={t('log')}>
          {run.lines.length === 0 ? t('waiting_line') : run.lines.map((l) => `${clockText(new Date(l.at), t.lang)}  ${l.text}`).join('\n')}
        </pre>
        {run.rows.map((r) => <RowLine key={`${r.drill}${r.seed}`} r={r} />)}
      </Stack>
    </Panel>
  );
}

const seconds = (s: number | null) => (s === null ? '–' : s < 10 ? `${s.toFixed(1)} s` : `${Math.round(s)} s`);

function RowLine({ r }: { r: Row }) {
  const t = useWords(words);
  return (
    <Stack gap={2}>
      <Group gap="md"><Score r={r} /><Text size="sm">{t('times', { detect: seconds(r.detect_s), contain: seconds(r.contain_s), proof: seconds(r.proof_s) })}</Text></Group>
      {r.ranked?.[0] && <Text size="sm">{t('said', { said: r.ranked[0], wanted: r.wanted || '–' })}</Text>}
      {r.why && <Text size="sm" c="dimmed">{r.why}</Text>}
      {[...(r.harmful ?? []), ...(r.invariants_broken ?? [])].map((x) => <State key={x} tone="bad">{x}</State>)}
    </Stack>
  );
}

/** Scores are the points over time: one dot a run, what is red drawn as a triangle. */
function Scores({ rows }: { rows: Row[] }) {
  const t = useWords(words);
  const range = useRange();
  if (rows.length === 0) return null;
  const shown = rows.filter((r) => range.holds(r.at)).slice(-120);
  const faults = shown.filter((r) => !r.control);
  const W = 720;
  const H = 150;
  const x = (i: number) => 40 + (shown.length < 2 ? (W - 60) / 2 : (i * (W - 60)) / (shown.length - 1));
  const y = (p: number) => 12 + ((100 - p) * (H - 36)) / 100;
  const share = (n: number) => (faults.length === 0 ? '–' : `${Math.round((100 * n) / faults.length)} %`);
  return (
    <Panel title={t('scores')} right={<Group gap="sm"><Text size="sm" c="dimmed">{t('scores_of', { n: shown.length })}</Text><RangePick spans={['24h', '7d', '30d']} /></Group>}>
      {shown.length === 0 ? <Empty title={t('range_none')} /> : <Stack gap="md">
        <div className={classes.figures}>
          {([
            ['points_mean', String(average(shown))],
            ['named', share(faults.filter((r) => r.top1).length)],
            ['seen', seconds(median(faults.map((r) => r.detect_s)))],
            ['contained', seconds(median(faults.map((r) => r.contain_s)))],
            ['harm', String(shown.filter(red).length)],
          ] as const).map(([k, v]) => (
            <div key={k}><div className={classes.figure}>{v}</div><div className={classes.dim}>{t(k)}</div></div>
          ))}
        </div>
        <svg role="img" aria-label={t('scores_label', { n: shown.length, points: average(shown), bad: shown.filter(red).length })} viewBox={`0 0 ${W} ${H}`} width="100%" style={{ display: 'block' }}>
          {[0, 50, 100].map((p) => (
            <g key={p}><path d={`M36 ${y(p)}H${W - 12}`} stroke="light-dark(#e3e8e8, #2b3234)" /><text x={30} y={y(p) + 4} textAnchor="end" fontSize={11} fill="light-dark(#55605f, #9aa7a7)">{p}</text></g>
          ))}
          {shown.map((r, i) => (red(r) ? <path key={i} d={`M${x(i)} ${y(r.points) - 6}l6 11h-12z`} fill="light-dark(#b3261e, #f29389)"><title>{`${r.drill}: ${r.points}`}</title></path> : <circle key={i} cx={x(i)} cy={y(r.points)} r={3.6} fill={r.control ? 'none' : 'light-dark(#0a6f73, #52acae)'} stroke="light-dark(#0a6f73, #52acae)" strokeWidth={1.5}><title>{`${r.drill}: ${r.points}`}</title></circle>))}
        </svg>
        <details>
          <summary>{t('as_table')}</summary>
          <Wide label={t('scores')} least={640}>
            <Table verticalSpacing={4} fz="sm">
              <Table.Thead><Table.Tr>{(['h_at', 'h_drill', 'h_points', 'h_said', 'h_seen', 'h_contained', 'h_proof'] as const).map((h) => <Table.Th key={h} scope="col">{t(h)}</Table.Th>)}</Table.Tr></Table.Thead>
              <Table.Tbody>
                {shown.slice(-40).reverse().map((r, i) => (
                  <Table.Tr key={i}>
                    <Table.Td><When at={r.at} age={false} /></Table.Td><Table.Td>{r.drill}</Table.Td><Table.Td><Score r={r} /></Table.Td><Table.Td>{r.ranked?.[0] ?? '–'}</Table.Td>
                    <Table.Td>{seconds(r.detect_s)}</Table.Td><Table.Td>{seconds(r.contain_s)}</Table.Td><Table.Td>{seconds(r.proof_s)}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </Wide>
        </details>
        {faults.length === 0 && <Empty title={t('only_controls')} />}
      </Stack>}
    </Panel>
  );
}

function median(all: (number | null)[]): number | null {
  const known = all.map((x) => x ?? Infinity).sort((a, b) => a - b);
  const m = known[Math.floor((known.length - 1) / 2)];
  return m === undefined || m === Infinity ? null : m;
}
