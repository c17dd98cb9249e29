import { Text } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { useSpan, useTick, When } from '../../parts';
import { useWords } from '../../words/words';
import classes from './payments.module.css';
import type { Span, Trail } from './types';
import words from './words.json';

const row = 26;

/** took says a time in milliseconds as people do, below a second too. */
export function took(ms: number, span: (how: 'for', s: number) => string): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return span('for', ms / 1000);
}

/** Waterfall shows where the time of a payment went: who had it, one bar after another. */
export function Waterfall({ trail }: { trail: Trail }) {
  const t = useWords(words);
  const tick = useTick();
  const span = useSpan();
  const { ref, width } = useElementSize();
  const at = (text: string) => new Date(text).getTime();
  const start = at(trail.started_at);
  const live = trail.spans.some((s) => !s.to);
  const end = Math.max(live ? Math.max(tick, at(trail.as_of)) : 0, start + 1, ...trail.spans.map((s) => at(s.to ?? s.from)));
  // What took no time that anybody could see is in the table.
  const spans = trail.spans.filter((s) => !(s.row === 'state' && s.to && at(s.to) === at(s.from)));
  const narrow = width < 560;
  const label = narrow ? 0 : 190;
  const figure = 76;
  const room = Math.max(40, width - label - figure);
  const x = (ms: number) => label + ((ms - start) / (end - start)) * room;
  const name = (s: Span) => (s.row === 'state' ? (t.maybe(`state_${s.name}`) ?? s.name) : t(`row_${s.row}`, { name: s.name }));
  const longest = spans.find((s) => s.longest);
  const total = (trail.final_at ? at(trail.final_at) : end) - start;
  const says = longest
    ? t(trail.final_at ? 'waterfall_says' : 'waterfall_open', { total: took(total, span), name: name(longest), time: took((longest.to ? at(longest.to) : end) - at(longest.from), span) })
    : t('waterfall_none', { total: took(total, span) });
  const step = narrow ? row + 16 : row;
  const height = spans.length * step + 26;
  return (
    <div ref={ref}>
      <Text size="sm" mb="xs">{says}</Text>
      {width > 0 && (
        <svg width={width} height={height} role="img" aria-label={says} className={classes.waterfall}>
          <line x1={label} x2={label} y1={0} y2={height - 20} className={classes.axis} />
          <line x1={label + room} x2={label + room} y1={0} y2={height - 20} className={classes.axis} />
          {spans.map((s, i) => {
            const y = i * step;
            const from = x(at(s.from));
            const to = s.to ? x(at(s.to)) : label + room;
            const bar = y + (narrow ? 18 : 5);
            return (
              <g key={`${s.row}${s.name}${s.from}`}>
                <text x={narrow ? 0 : label - 10} y={narrow ? y + 12 : y + 18} textAnchor={narrow ? 'start' : 'end'} className={s.longest ? classes.strong : undefined}>{clip(name(s), narrow ? 40 : 26)}</text>
                <rect x={from} y={bar} width={Math.max(3, to - from)} height={15} rx={3} data-row={s.row} data-open={!s.to} />
                <text x={Math.min(to, label + room) + 6} y={bar + 12} className={classes.dimText}>{took((s.to ? at(s.to) : end) - at(s.from), span)}{s.to ? '' : ' …'}</text>
              </g>
            );
          })}
          <text x={label} y={height - 4} className={classes.dimText}>0</text>
          <text x={label + room} y={height - 4} textAnchor="end" className={classes.dimText}>{took(end - start, span)}</text>
        </svg>
      )}
      <details className={classes.story}>
        <summary>{t('chart_table')}</summary>
        <div className={classes.scroll} tabIndex={0} role="region" aria-label={t('waterfall')}>
          <table className={classes.plain}>
            <thead>
              <tr>{['hop', 'what', 'from', 'took', 'ended'].map((k) => <th key={k} scope="col">{t.maybe(`col_${k}`)}</th>)}</tr>
            </thead>
            <tbody>
              {trail.spans.map((s, i) => (
                <tr key={i}>
                  <td>{t.maybe(`hop_${s.hop}`) ?? s.hop}</td>
                  <td>{name(s)}</td>
                  <td><When at={s.from} age={false} /></td>
                  <td>{took((s.to ? at(s.to) : end) - at(s.from), span)}</td>
                  <td>{s.to ? (t.maybe(`state_${s.ended}`) ?? s.ended) : t('open')}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </div>
  );
}

function clip(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
