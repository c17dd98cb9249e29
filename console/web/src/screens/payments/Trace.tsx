import { Text } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { State, useSpan, When } from '../../parts';
import { useWords } from '../../words/words';
import classes from './payments.module.css';
import type { TraceLook, TraceRow } from './types';
import { took } from './Waterfall';
import words from './words.json';

const high = 24;

/** Trace shows whose the time was, from the spans that the watch keeps; the slow hop is
 * marked. What is not here says why. */
export function Trace({ look }: { look: TraceLook }) {
  const t = useWords(words);
  return (
    <>
      <Text size="sm" mb="xs">{look.says}</Text>
      {look.waterfall && <Fall rows={look.waterfall.rows} all={look.waterfall.took_s} says={look.says} hops={look.waterfall.hops} slow={look.waterfall.slow?.hop} cut={look.waterfall.cut} />}
      {look.logs && <Logs look={look} />}
      {look.jaeger_url && <Text size="sm" mt="xs"><a href={look.jaeger_url} target="_blank" rel="noreferrer">{t('open_jaeger')}</a></Text>}
    </>
  );
}

/** Logs are the lines of the server's log that name the trace or the payment. */
function Logs({ look }: { look: TraceLook }) {
  const t = useWords(words);
  const all = look.logs ?? [];
  if (all.length === 0) return <Text size="sm" c="dimmed" mt="xs">{t('logs_none')} {look.logs_since && <When at={look.logs_since} age={false} />}</Text>;
  return (
    <div className={classes.story}>
      <Text size="sm" fw={600}>{t('logs', { n: all.length })}</Text>
      <ol className={classes.logs}>
        {all.map((l, i) => (
          <li key={i}>
            <When at={l.at} age={false} /> <State tone={l.level === 'ERROR' ? 'bad' : l.level === 'WARN' ? 'wait' : 'idle'}>{l.level}</State> {l.message}{' '}
            <span className={classes.mono}>{Object.entries(l.attrs ?? {}).map(([k, v]) => `${k}=${v}`).join(' ')}</span>
          </li>
        ))}
      </ol>
    </div>
  );
}

type FallProps = { rows: TraceRow[]; all: number; says: string; hops: { hop: string; s: number; share: number }[]; slow?: string; cut?: boolean };

function Fall({ rows, all, says, hops, slow, cut }: FallProps) {
  const t = useWords(words);
  const span = useSpan();
  const { ref, width } = useElementSize();
  const narrow = width < 560;
  const label = narrow ? 0 : 250;
  const room = Math.max(40, width - label - 80);
  const step = narrow ? high + 16 : high;
  const x = (s: number) => label + (all > 0 ? s / all : 0) * room;
  const of = (r: TraceRow) => `${t.maybe(`hop_${r.hop}`) ?? r.hop} · ${t.maybe(`span_${r.name}`) ?? r.name}`;
  const kind = (r: TraceRow) => (r.failed ? 'failed' : r.slow ? 'slow' : r.gap || r.waits ? 'waits' : 'span');
  return (
    <div ref={ref}>
      {width > 0 && (
        <svg width={width} height={rows.length * step + 22} role="img" aria-label={says} className={classes.trace}>
          <line x1={label} x2={label} y1={0} y2={rows.length * step} className={classes.axis} />
          <line x1={label + room} x2={label + room} y1={0} y2={rows.length * step} className={classes.axis} />
          {rows.map((r, i) => {
            const y = i * step;
            const bar = y + (narrow ? 17 : 4);
            const from = x(r.from_s);
            const to = x(r.from_s + r.took_s);
            return (
              <g key={i}>
                <text x={narrow ? 0 : label - 10} y={narrow ? y + 12 : y + 17} textAnchor={narrow ? 'start' : 'end'} className={r.slow ? classes.strong : undefined}>
                  {r.slow ? `▸ ${of(r)}` : of(r)}
                </text>
                <rect x={from} y={bar} width={Math.max(2, to - from)} height={15} rx={3} data-kind={kind(r)} />
                <text x={Math.min(to, label + room) + 6} y={bar + 12} className={classes.dimText}>{took(r.took_s * 1000, span)}</text>
              </g>
            );
          })}
          <text x={label} y={rows.length * step + 16} className={classes.dimText}>0</text>
          <text x={label + room} y={rows.length * step + 16} textAnchor="end" className={classes.dimText}>{took(all * 1000, span)}</text>
        </svg>
      )}
      <ul className={classes.shares} aria-label={t('trace_shares')}>
        {hops.map((p) => (
          <li key={p.hop}>
            <State tone={p.hop === slow ? 'wait' : 'idle'}>{t.maybe(`hop_${p.hop}`) ?? p.hop}</State> {took(p.s * 1000, span)} · {(100 * p.share).toFixed(p.share < 0.1 ? 1 : 0)} %
          </li>
        ))}
      </ul>
      {cut && <Text size="xs" c="dimmed">{t('trace_cut')}</Text>}
      <details className={classes.story}>
        <summary>{t('chart_table')}</summary>
        <div className={classes.scroll} tabIndex={0} role="region" aria-label={t('trace_title')}>
          <table className={classes.plain}>
            <thead>
              <tr>{['hop', 'what', 'begins', 'took', 'own', 'ended'].map((k) => <th key={k} scope="col">{t.maybe(`col_${k}`)}</th>)}</tr>
            </thead>
            <tbody>
              {rows.map((r, i) => (
                <tr key={i}>
                  <td>{t.maybe(`hop_${r.hop}`) ?? r.hop}</td>
                  <td>{t.maybe(`span_${r.name}`) ?? r.name}{r.slow ? ` — ${t('trace_slow')}` : ''}</td>
                  <td>+{took(r.from_s * 1000, span)}</td>
                  <td>{took(r.took_s * 1000, span)}</td>
                  <td>{took(r.own_s * 1000, span)}</td>
                  <td>{r.failed ? (r.error ?? t('trace_failed')) : (r.attrs?.['http.response.status_code'] ?? '')}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </div>
  );
}
