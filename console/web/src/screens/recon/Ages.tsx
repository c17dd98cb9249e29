// How old the open differences are: a column a bucket, the worst at its foot; and who has
// them, by class.
import { useElementSize } from '@mantine/hooks';
import { amountText, useParam } from '../../data';
import { Empty, Plain, State, Wide } from '../../parts';
import { useWords } from '../../words/words';
import { buckets, toneOf, type Age } from './model';
import classes from './recon.module.css';
import ages from './ages.module.css';
import words from './words.json';

export function Ages({ all }: { all: Age[] }) {
  const t = useWords(words);
  const [, setClass] = useParam('class');
  if (all.length === 0) return <Empty tone="good" title={t('no_breaks')}>{t('no_breaks_why')}</Empty>;
  const byClass = new Map<string, Age[]>();
  for (const a of all) {
    const key = `${a.severity}\u0000${a.class}\u0000${a.owner}`;
    byClass.set(key, [...(byClass.get(key) ?? []), a]);
  }
  const rows = [...byClass.values()].sort((a, b) => (a[0]?.severity ?? 9) - (b[0]?.severity ?? 9) || total(b) - total(a));
  return (
    <div className={classes.grid2}>
      <Histogram all={all} />
      <Wide label={t('by_class')} least={460}>
        <table className={classes.table}>
          <thead>
            <tr>
              <th scope="col">{t('class')}</th>
              <th scope="col">{t('owner')}</th>
              <th scope="col" className={classes.num}>{t('count')}</th>
              <th scope="col" className={classes.num}>{t('value')}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((of) => {
              const one = of[0];
              if (!one) return null;
              return (
                <tr key={`${one.class}${one.owner}`}>
                  <td>
                    <State tone={toneOf(one.severity)}>
                      <Plain onClick={() => setClass(one.class)}>{one.title[t.lang]}</Plain>
                    </State>
                  </td>
                  <td>{t.maybe(`owner_${one.owner}`) ?? one.owner}</td>
                  <td className={classes.num}>{total(of)}</td>
                  <td className={classes.num}>{values(of)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </Wide>
    </div>
  );
}

const total = (of: Age[]) => of.reduce((n, a) => n + a.count, 0);

function values(of: Age[]): string {
  const by = new Map<string, bigint>();
  for (const a of of) if (a.asset) by.set(a.asset, (by.get(a.asset) ?? 0n) + BigInt(a.value));
  return [...by].map(([asset, v]) => amountText(v, asset)).join(' + ') || '—';
}

function Histogram({ all }: { all: Age[] }) {
  const t = useWords(words);
  const { ref, width } = useElementSize();
  const w = Math.max(width, 220);
  const height = 150;
  const bars = buckets.map((under) => {
    const of = all.filter((a) => a.under === under);
    return { under, by: [1, 2, 3].map((s) => ({ severity: s, n: total(of.filter((a) => a.severity === s)) })), n: total(of) };
  });
  const most = Math.max(1, ...bars.map((b) => b.n));
  const step = w / buckets.length;
  return (
    <div ref={ref}>
      <svg width={w} height={height} role="img" aria-label={`${t('ages')}: ${bars.map((b) => `${t(`under_${b.under}`)} ${b.n}`).join(', ')}`} className={classes.picture}>
        <line x1={0} x2={w} y1={height - 24} y2={height - 24} className={classes.rule} />
        {bars.map((b, i) => {
          let y = height - 24;
          return (
            <g key={b.under}>
              {b.by.map(({ severity, n }) => {
                if (n === 0) return null;
                const h = Math.max(4, ((height - 60) * n) / most);
                y -= h;
                return <rect key={severity} x={i * step + step * 0.2} y={y} width={step * 0.6} height={h - 1} rx={2} className={ages[`severity_${severity}`]} />;
              })}
              {b.n > 0 && <text x={(i + 0.5) * step} y={y - 5} textAnchor="middle" className={classes.name}>{b.n}</text>}
              <text x={(i + 0.5) * step} y={height - 8} textAnchor="middle" className={classes.small}>{t(`under_${b.under}`)}</text>
            </g>
          );
        })}
      </svg>
    </div>
  );
}
