import { clockText } from '../../parts';
import { useWords } from '../../words/words';
import type { HopState } from './look';
import { figure } from './River';
import classes from './map.module.css';
import words from './words.json';

const w = 320;
const h = 54;

/** Spark is one figure over the last quarter of an hour. Where nothing was counted there is
 * no line: a gap is not a zero. */
export function Spark({ label, at, values, state }: { label: string; at: string[]; values: (number | null)[]; state: HopState }) {
  const t = useWords(words);
  const known = values.filter((v): v is number => v !== null);
  if (known.length < 2 || at.length < 2) return null;
  const top = Math.max(1e-9, ...known);
  const from = new Date(at[0] ?? 0).getTime();
  const span = Math.max(1, new Date(at.at(-1) ?? 0).getTime() - from);
  let d = '';
  let pen = false;
  values.forEach((v, i) => {
    if (v === null) {
      pen = false;
      return;
    }
    const x = ((new Date(at[i] ?? 0).getTime() - from) / span) * w;
    const y = h - 3 - (v / top) * (h - 8);
    d += `${pen ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = true;
  });
  const last = known.at(-1) ?? 0;
  return (
    <figure className={classes.spark}>
      <figcaption>
        <span>{label}</span>
        <span>{t('now_and_most', { now: figure(last), most: figure(Math.max(...known)) })}</span>
      </figcaption>
      <svg viewBox={`0 0 ${w} ${h}`} preserveAspectRatio="none" role="img" aria-label={`${label}: ${t('now_and_most', { now: figure(last), most: figure(Math.max(...known)) })}, ${clockText(new Date(from), t.lang)} – ${clockText(new Date(at.at(-1) ?? 0), t.lang)}`}>
        <path d={`M0 ${h - 3}H${w}`} className={classes.sparkBase} />
        <path d={d} className={`${classes.sparkLine} ${classes[`spark_${state}`]}`} />
      </svg>
    </figure>
  );
}
