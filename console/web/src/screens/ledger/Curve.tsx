// A balance moves in steps, and every figure of it is exact: so it is drawn here, not by a
// library that wants floating-point numbers.
import { useElementSize } from '@mantine/hooks';
import { amountText } from '../../data';
import { momentText } from '../../parts/time';
import { useWords } from '../../words/words';
import classes from './ledger.module.css';
import words from './words.json';

export type Point = { at: string; available: string; held: string };

export function Curve({ points, asset, at, label }: { points: Point[]; asset: string; at: string; label: string }) {
  const t = useWords(words);
  const { ref, width } = useElementSize();
  const first = points[0];
  const last = points[points.length - 1];
  if (!first || !last) return null;
  const w = Math.max(width, 240);
  const h = 150;
  const all = points.flatMap((p) => [BigInt(p.available), BigInt(p.held)]);
  const low = all.reduce((m, v) => (v < m ? v : m), 0n);
  const high = all.reduce((m, v) => (v > m ? v : m), 0n);
  const range = high - low || 1n;
  const t0 = new Date(first.at).getTime();
  const t1 = new Date(last.at).getTime() || t0 + 1;
  const x = (ms: number) => ((ms - t0) / (t1 - t0)) * w;
  const y = (v: bigint) => 22 + (1 - Number(((v - low) * 10_000n) / range) / 10_000) * (h - 44);
  const path = (of: 'available' | 'held') =>
    points.map((p, i) => (i === 0 ? `M0 ${y(BigInt(p[of]))}` : `H${x(new Date(p.at).getTime())}V${y(BigInt(p[of]))}`)).join('');
  const mark = at ? new Date(at).getTime() : NaN;
  const says = `${label}: ${momentText(t0, t.lang)} ${amountText(first.available, asset)}, ${momentText(t1, t.lang)} ${amountText(last.available, asset)}`;
  return (
    <div ref={ref}>
      <svg width={w} height={h} role="img" aria-label={says} className={classes.curve}>
        <line x1={0} x2={w} y1={y(0n)} y2={y(0n)} className={classes.zeroLine} />
        <path d={`${path('available')}V${y(low)}H0Z`} className={classes.area} />
        <path d={path('available')} className={classes.line} />
        {points.some((p) => p.held !== '0') && <path d={path('held')} className={classes.lineHeld} />}
        {mark >= t0 && mark <= t1 && <line x1={x(mark)} x2={x(mark)} y1={10} y2={h - 18} className={classes.mark} />}
        <text x={0} y={12}>{amountText(high, asset)}</text>
        <text x={0} y={h - 4}>{momentText(t0, t.lang)}</text>
        <text x={w} y={h - 4} textAnchor="end">{momentText(t1, t.lang)}</text>
        {low < 0n && <text x={w} y={h - 24} textAnchor="end">{amountText(low, asset)}</text>}
      </svg>
      <details className={classes.asTable}>
        <summary>{t('chart_table')}</summary>
        <div className={classes.scroll} tabIndex={0} role="region" aria-label={label}>
          <table className={classes.table}>
            <thead><tr><th scope="col">{t('time')}</th><th scope="col">{t('available')}</th><th scope="col">{t('held')}</th></tr></thead>
            <tbody>
              {points.filter((p, i) => i === 0 || i === points.length - 1 || p.available !== points[i - 1]?.available || p.held !== points[i - 1]?.held).map((p) => (
                <tr key={p.at}><td>{momentText(new Date(p.at), t.lang)}</td><td>{amountText(p.available, asset)}</td><td>{amountText(p.held, asset)}</td></tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </div>
  );
}
