// Three columns with the money between them. Thickness is value; what matches flows
// quietly, what the statement lacks is hollow, what it has too much sticks out in red.
import { useElementSize } from '@mantine/hooks';
import { amountText } from '../../data';
import { Go, Wide } from '../../parts';
import { useWords } from '../../words/words';
import { share, type ChannelPicture, type Column } from './model';
import classes from './recon.module.css';
import words from './words.json';

type Row = { channel: string; direction: 'in' | 'out'; readAge?: number; ledger: Column; said: Column; matched: Column; surplus: Column; awaited: Column; overdue: Column; stated: Column };

const columns = ['ledger', 'said', 'matched', 'surplus', 'awaited', 'overdue', 'stated'] as const;
const zero = (): Column => ({ count: 0, value: '0' });
const plus = (a: Column, b: Column): Column => ({ count: a.count + b.count, value: (BigInt(a.value) + BigInt(b.value)).toString() });

/** rowsOf adds the days up, one row a channel and direction. */
export function rowsOf(channels: ChannelPicture[], asset: string): Row[] {
  const rows = new Map<string, Row>();
  for (const c of channels) {
    for (const d of c.days) {
      if (d.asset !== asset) continue;
      const key = `${c.channel} ${d.direction}`;
      const row = rows.get(key) ?? { channel: c.channel, direction: d.direction, readAge: c.read_age_s, ...Object.fromEntries(columns.map((k) => [k, zero()])) } as Row;
      for (const k of columns) row[k] = plus(row[k], d[k]);
      rows.set(key, row);
    }
  }
  const hurt = (r: Row) => BigInt(r.surplus.value) + BigInt(r.overdue.value);
  const size = (r: Row) => BigInt(r.ledger.value) + BigInt(r.surplus.value);
  return [...rows.values()].sort((a, b) => (hurt(b) > 0n ? 1 : 0) - (hurt(a) > 0n ? 1 : 0) || (size(b) > size(a) ? 1 : size(b) < size(a) ? -1 : a.channel.localeCompare(b.channel)));
}

const shown = 14;
const thickest = 30;

export function ThreeColumns({ channels, asset, label }: { channels: ChannelPicture[]; asset: string; label: string }) {
  const t = useWords(words);
  const { ref, width } = useElementSize();
  const all = rowsOf(channels, asset);
  const rows = all.slice(0, shown);
  const most = rows.reduce((m, r) => [r.ledger.value, r.stated.value].reduce((n, v) => (BigInt(v) > n ? BigInt(v) : n), m), 1n);
  const w = Math.max(width, 300);
  const narrow = w < 620;
  const x = narrow ? { l: 8, c: w * 0.42, b: w * 0.76 } : { l: 150, c: 150 + (w - 330) * 0.48, b: w - 190 };
  const head = 26;
  const heights = rows.map((r) => tall(r, most, narrow));
  const tops = heights.map((_, i) => head + heights.slice(0, i).reduce((n, h) => n + h, 0));
  const height = head + heights.reduce((n, h) => n + h, 0) + 6;
  const money = (c: Column) => (narrow ? String(c.count) : `${c.count} · ${amountText(c.value, asset)}`);
  return (
    <div ref={ref}>
      <svg width={w} height={height} role="img" aria-label={label} className={classes.picture}>
        <g className={classes.heads}>
          <text x={x.l} y={14}>{t('ledger')}</text>
          <text x={x.c} y={14}>{t('channel_word')}</text>
          <text x={x.b} y={14}>{t('bank')}</text>
        </g>
        {rows.map((r, i) => (
          <Flow key={`${r.channel}${r.direction}`} r={r} y={tops[i] ?? head} x={x} most={most} narrow={narrow} money={money} w={w} />
        ))}
      </svg>
      {all.length > rows.length && <p className={classes.dim}>{t('more_rows', { n: all.length - rows.length })}</p>}
      <div className={classes.legend} aria-hidden>
        <span><i className={classes.keyBand} />{t('key_match')}</span>
        <span><i className={classes.keyHollow} />{t('key_awaited')}</span>
        <span><i className={classes.keyLate} />{t('key_overdue')}</span>
        <span><i className={classes.keyStub} />{t('key_surplus')}</span>
      </div>
      <details className={classes.asTable}>
        <summary>{t('chart_table')}</summary>
        <Wide label={label} least={720}>
          <table className={classes.table}>
            <thead>
              <tr>
                {(['channel', 'ledger', 'channel_word', 'bank', 'key_match', 'key_awaited', 'key_overdue', 'key_surplus', 'read'] as const).map((k) => (
                  <th key={k} scope="col">{t(k)}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {all.map((r) => (
                <tr key={`${r.channel}${r.direction}`}>
                  <th scope="row"><Go to={`/recon?channel=${r.channel}`}>{r.channel}</Go> {t(`dir_${r.direction}`)}</th>
                  {([r.ledger, r.said, r.stated, r.matched, r.awaited, r.overdue, r.surplus]).map((c, k) => (
                    <td key={k}>{c.count} · {amountText(c.value, asset)}</td>
                  ))}
                  <td>{r.readAge === undefined ? '—' : t('ago_s', { n: r.readAge })}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Wide>
      </details>
    </div>
  );
}

/** sizes are the thicknesses of a row's parts; a part that is not there has none, one that
 * is can be seen. */
function sizes(r: Row, most: bigint) {
  const thick = (v: bigint) => (v <= 0n ? 0 : Math.max(3, thickest * share(v, most)));
  const ledger = BigInt(r.ledger.value);
  const said = BigInt(r.said.value) < ledger ? BigInt(r.said.value) : ledger;
  const awaited = BigInt(r.awaited.value);
  const settled = ledger > awaited ? ledger - awaited : 0n;
  const hSaid = thick(said);
  const hQuiet = thick(ledger - said);
  const hLedger = hSaid + hQuiet;
  return {
    hSaid,
    hQuiet,
    hLedger,
    hSettled: Math.min(hLedger, thick(settled)),
    hOpen: awaited > 0n ? Math.max(5, Math.min(thickest, thick(awaited))) : 0,
    hSurplus: BigInt(r.surplus.value) > 0n ? Math.max(5, thick(BigInt(r.surplus.value))) : 0,
  };
}

/** tall is the height of a row. */
function tall(r: Row, most: bigint, narrow: boolean): number {
  const s = sizes(r, most);
  return Math.max(narrow ? 62 : 56, (narrow ? 34 : 26) + Math.max(s.hLedger, s.hSettled + s.hOpen + s.hSurplus + 6) + 12);
}

function Flow({ r, y, x, most, narrow, money, w }: { r: Row; y: number; x: { l: number; c: number; b: number }; most: bigint; narrow: boolean; money: (c: Column) => string; w: number }) {
  const t = useWords(words);
  const top = y + (narrow ? 34 : 26);
  const figures = top - 7;
  const bar = 8;
  const overdue = BigInt(r.overdue.value);
  const { hSaid, hQuiet, hLedger, hSettled, hOpen, hSurplus } = sizes(r, most);
  const band = (x1: number, y1: number, h1: number, x2: number, y2: number, h2: number) => {
    const m = (x1 + x2) / 2;
    return `M${x1} ${y1}C${m} ${y1} ${m} ${y2} ${x2} ${y2}V${y2 + h2}C${m} ${y2 + h2} ${m} ${y1 + h1} ${x1} ${y1 + h1}Z`;
  };
  const toBank = Math.min(hSaid, hSettled);
  return (
    <g>
      <line x1={0} x2={w} y1={y} y2={y} className={classes.rule} />
      <text x={narrow ? x.l : 0} y={y + (narrow ? 14 : 30)} className={classes.name}>
        {r.channel}
      </text>
      <text x={narrow ? x.l + 70 : 0} y={y + (narrow ? 14 : 46)} className={classes.small}>
        {t(`dir_${r.direction}`)}
        {!narrow && r.readAge !== undefined && ` · ${t('read_ago', { n: r.readAge })}`}
      </text>
      {hSaid > 0 && <path d={band(x.l + bar, top, hSaid, x.c, top, hSaid)} className={classes.band} />}
      {hQuiet > 0 && <path d={band(x.l + bar, top + hSaid, hQuiet, x.b, top + hSaid, Math.max(0, hSettled - toBank) || 1.5)} className={classes.bandThin} />}
      {toBank > 0 && <path d={band(x.c + bar, top, Math.min(hSaid, toBank), x.b, top, toBank)} className={classes.band} />}
      {hLedger > 0 && <rect x={x.l} y={top} width={bar} height={hLedger} rx={2} className={classes.bar} />}
      {hSaid > 0 && <rect x={x.c} y={top} width={bar} height={hSaid} rx={2} className={classes.bar} />}
      {hSettled > 0 && <rect x={x.b} y={top} width={bar} height={hSettled} rx={2} className={classes.bar} />}
      {hOpen > 0 && <rect x={x.b} y={top + hSettled + 2} width={bar} height={hOpen} rx={2} className={overdue > 0n ? classes.late : classes.hollow} />}
      {hSurplus > 0 && <rect x={x.b} y={top + hSettled + (hOpen ? hOpen + 4 : 2)} width={bar + 26} height={hSurplus} rx={2} className={classes.stub} />}
      {!(narrow && hLedger === 0) && <text x={x.l} y={figures} className={classes.figure}>{r.ledger.count > 0 ? money(r.ledger) : narrow ? '' : t('nothing')}</text>}
      {r.said.count > 0 && <text x={x.c} y={figures} className={classes.figure}>{money(r.said)}</text>}
      {r.matched.count > 0 && <text x={x.b} y={figures} className={classes.figure}>{money(r.matched)}</text>}
      {r.awaited.count > 0 && (
        <text x={x.b + bar + (hSurplus > 0 ? 30 : 6)} y={top + 12} className={overdue > 0n ? classes.lateText : classes.small}>
          {narrow ? `−${r.awaited.count}` : t(overdue > 0n ? 'missing_n' : 'awaited_n', { n: r.awaited.count })}
        </text>
      )}
      {r.surplus.count > 0 && (
        <text x={x.b + bar + 30} y={top + (r.awaited.count > 0 ? 28 : 12)} className={classes.stubText}>
          {narrow ? `+${r.surplus.count}` : t('surplus_n', { n: r.surplus.count })}
        </text>
      )}
    </g>
  );
}
