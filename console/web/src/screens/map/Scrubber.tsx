// The last quarter of an hour: how it was at each moment, and a handle to go there.
import { Button } from '@mantine/core';
import { useEffect, useState } from 'react';
import { clockText, RangePick, useRange } from '../../parts';
import { useWords } from '../../words/words';
import type { Range } from '../../parts';
import type { History } from './look';
import classes from './map.module.css';
import words from './words.json';

export function Scrubber({ history: whole, at, choose }: { history: History; at: string; choose: (at: string) => void }) {
  const t = useWords(words);
  const range = useRange();
  const history = narrowed(whole, range);
  const n = history.at.length;
  const index = at === '' ? n - 1 : Math.max(0, history.at.findLastIndex((x) => x <= at));
  const [held, setHeld] = useState<number>();
  const shown = held ?? index;
  useEffect(() => {
    if (held === undefined) return;
    const later = setTimeout(() => {
      choose(held >= n - 1 ? '' : (history.at[held] ?? ''));
      setHeld(undefined);
    }, 180);
    return () => clearTimeout(later);
  }, [held]); // eslint-disable-line
  if (whole.at.length < 3) return null;
  if (n < 3)
    return (
      <div className={classes.scrubber}>
        <div className={classes.times}>
          <span>{t('range_none')}</span>
          <RangePick spans={spans} days={false} />
        </div>
      </div>
    );
  const first = history.at[0] ?? '';
  const last = history.at[n - 1] ?? '';
  const from = new Date(first).getTime();
  const span = Math.max(1, new Date(last).getTime() - from);
  const x = (i: number) => ((new Date(history.at[i] ?? last).getTime() - from) / span) * 1000;
  const runs: { from: number; until: number; state: string }[] = [];
  history.worst.forEach((state, i) => {
    const run = runs.at(-1);
    if (run && run.state === state) run.until = i;
    else runs.push({ from: i, until: i, state });
  });
  const most = Math.max(1, ...history.at.map((_, i) => total(history, i)));
  const hill = history.at.map((_, i) => `${x(i).toFixed(1)} ${(26 - (24 * Math.log10(1 + total(history, i))) / Math.log10(1 + most)).toFixed(1)}`).join('L');
  const moment = history.at[shown] ?? last;
  const text = clockText(new Date(moment), t.lang);
  return (
    <div className={classes.scrubber}>
      <div className={classes.track}>
        <svg viewBox="0 0 1000 34" preserveAspectRatio="none" className={classes.strip} aria-hidden focusable="false">
          <path d={`M0 26L${hill}L1000 26Z`} className={classes.hill} />
          {runs.map((run) => (
            <rect key={run.from} x={x(run.from)} y={28} width={Math.max(2, x(Math.min(run.until + 1, n - 1)) - x(run.from))} height={6} className={classes[`strip_${run.state}`]} />
          ))}
        </svg>
        <input
          type="range"
          min={0}
          max={n - 1}
          step={1}
          value={shown}
          onChange={(e) => setHeld(Number(e.currentTarget.value))}
          aria-label={t('look_back')}
          aria-valuetext={shown >= n - 1 ? t('now') : `${text}, ${t(`state_${history.worst[shown] ?? 'unknown'}`)}`}
          className={classes.range}
        />
      </div>
      <div className={classes.times}>
        <span>{clockText(new Date(first), t.lang)}</span>
        <span className={classes.over}>{t('waiting_over')} <RangePick spans={spans} days={false} /></span>
        {at === '' ? <span>{t('now')}</span> : <Button size="compact-xs" variant="light" onClick={() => choose('')}>{t('back_to_now')}</Button>}
      </div>
    </div>
  );
}

/** spans are what a quarter of an hour can be narrowed to. */
const spans = ['1m', '5m'];

function narrowed(h: History, range: Range): History {
  if (!range.narrow) return h;
  const on = h.at.map((a) => range.holds(a));
  const only = <T,>(all: T[]) => all.filter((_, i) => on[i]);
  return { at: only(h.at), worst: only(h.worst), hops: Object.fromEntries(Object.entries(h.hops).map(([k, c]) => [k, { waiting: only(c.waiting), in_s: only(c.in_s), out_s: only(c.out_s), state: only(c.state) }])) };
}

function total(h: History, i: number): number {
  let n = 0;
  for (const c of Object.values(h.hops)) n += c.waiting[i] ?? 0;
  return n;
}
