// How a channel's account came from one day to another: a waterfall from the opening
// balance to the closing one, and beside it what the bank states.
import { Group, Select, TextInput } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { amountText, sum, useParam, usePay } from '../../data';
import { Empty, Panel, Sentence, Shown, Twin, Wide } from '../../parts';
import { useWords } from '../../words/words';
import classes from './finance.module.css';
import words from './words.json';

type Day = {
  day: string;
  lines: number;
  opening: string;
  in: string;
  out: string;
  fees: string;
  closing: string;
  stated_closing?: string;
  off?: string;
  posted: string;
  difference: string;
  explained: Record<string, string>;
  unexplained: string;
  awaited: string;
};
type Picture = { channels: { channel: string; days: { asset: string }[] }[] };

const dayBefore = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10);

export function RollForward({ asset }: { assets: string[]; asset: string }) {
  const t = useWords(words);
  const [from, setFrom] = useParam('roll_from', dayBefore(6));
  const [to, setTo] = useParam('roll_to', dayBefore(0));
  const [channel, setChannel] = useParam('channel');
  const known = usePay<Picture>(`/v1/recon/picture?from=${dayBefore(6)}&to=${dayBefore(0)}`);
  const names = known.data?.channels.map((c) => c.channel) ?? [];
  const busiest = known.data?.channels.find((c) => c.days.some((d) => d.asset === asset))?.channel ?? names[0] ?? '';
  const chosen = channel || busiest;
  const roll = usePay<{ data: Day[] }>(chosen && asset ? `/v1/recon/roll-forward?channel=${encodeURIComponent(chosen)}&asset=${asset}&from=${from}&to=${to}` : null, { every: 30_000, keep: true });
  return (
    <Panel title={t('roll')} right={chosen && <Twin cmd={`moneta recon roll-forward --channel ${chosen} --asset ${asset} --from ${from} --to ${to}`} />}>
      <Group gap="sm" align="end" mb="sm">
        <Select size="xs" label={t('channel')} data={names} value={chosen || null} onChange={(v) => setChannel(v ?? '')} />
        <TextInput type="date" size="xs" label={t('from')} value={from} max={to} onChange={(e) => setFrom(e.currentTarget.value)} />
        <TextInput type="date" size="xs" label={t('to')} value={to} min={from} onChange={(e) => setTo(e.currentTarget.value)} />
      </Group>
      {!chosen || !asset ? (
        <Empty title={t('no_channel')}>{t('no_channel_why')}</Empty>
      ) : (
        <Shown of={roll} rows={6}>{(l) => (l.data.length === 0 ? <Empty title={t('no_days')}>{t('no_days_why')}</Empty> : <Rolled days={l.data} asset={asset} />)}</Shown>
      )}
    </Panel>
  );
}

function Rolled({ days, asset }: { days: Day[]; asset: string }) {
  const t = useWords(words);
  const first = days[0];
  const last = days[days.length - 1];
  if (!first || !last) return null;
  const busy = days.filter((d) => d.lines > 0 || d.awaited !== '0' || d.difference !== '0' || d.stated_closing !== undefined);
  const lines = days.reduce((n, d) => n + d.lines, 0);
  const unexplained = sum(days.map((d) => d.unexplained));
  const difference = sum(days.map((d) => d.difference));
  return (
    <>
      <Sentence tone={unexplained !== '0' ? 'bad' : difference !== '0' ? 'wait' : lines === 0 ? 'idle' : 'good'}>
        {lines === 0 ? t('roll_none') : unexplained !== '0' ? t('roll_off', { value: amountText(unexplained, asset) }) : difference !== '0' ? t('roll_explained', { value: amountText(difference, asset) }) : t('roll_well', { n: lines })}
      </Sentence>
      <Waterfall opening={first.opening} moved={{ in: sum(days.map((d) => d.in)), out: sum(days.map((d) => d.out)), fees: sum(days.map((d) => d.fees)) }} closing={last.closing} stated={last.stated_closing} asset={asset} />
      <Wide label={t('roll')} least={860}>
        <table className={classes.table}>
          <thead>
            <tr>
              {(['day', 'lines', 'opening', 'in', 'out', 'fees', 'closing', 'stated', 'posted', 'unexplained', 'awaited'] as const).map((k) => (
                <th key={k} scope="col" className={k === 'day' ? undefined : classes.num}>{t(k)}</th>
              ))}
            </tr>
          </thead>
          <tbody>
            {busy.map((d) => (
              <tr key={d.day}>
                <th scope="row">{d.day}</th>
                <td className={classes.num}>{d.lines}</td>
                {([d.opening, d.in, d.out, d.fees, d.closing]).map((v, i) => <td key={i} className={classes.num}>{amountText(v, asset)}</td>)}
                <td className={classes.num}>{d.stated_closing === undefined ? '—' : amountText(d.stated_closing, asset)}</td>
                <td className={classes.num}>{amountText(d.posted, asset)}</td>
                <td className={classes.num}>
                  {amountText(d.unexplained, asset)}
                  {Object.entries(d.explained).map(([k, v]) => <div key={k} className={classes.dim}>{k} {amountText(v, asset)}</div>)}
                </td>
                <td className={classes.num}>{amountText(d.awaited, asset)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Wide>
      {busy.length < days.length && <p className={classes.dim}>{t('quiet_days', { n: days.length - busy.length })}</p>}
    </>
  );
}

function Waterfall({ opening, moved, closing, stated, asset }: { opening: string; moved: { in: string; out: string; fees: string }; closing: string; stated?: string; asset: string }) {
  const t = useWords(words);
  const { ref, width } = useElementSize();
  const w = Math.max(width, 280);
  const h = 220;
  const o = BigInt(opening);
  const c = BigInt(closing);
  const afterIn = o + BigInt(moved.in);
  const afterOut = afterIn - BigInt(moved.out);
  const steps = [
    { key: 'opening' as const, from: 0n, to: o, kind: 'total' },
    { key: 'in' as const, from: o, to: afterIn, kind: 'up' },
    { key: 'out' as const, from: afterIn, to: afterOut, kind: 'down' },
    { key: 'fees' as const, from: afterOut, to: c, kind: 'down' },
    { key: 'closing' as const, from: 0n, to: c, kind: 'total' },
    ...(stated === undefined ? [] : [{ key: 'stated' as const, from: 0n, to: BigInt(stated), kind: stated === closing ? 'total' : 'off' }]),
  ];
  const ends = steps.flatMap((s) => [s.from, s.to]);
  const low = ends.reduce((m, v) => (v < m ? v : m), 0n);
  const high = ends.reduce((m, v) => (v > m ? v : m), 0n);
  const range = high - low || 1n;
  const y = (v: bigint) => 26 + (1 - Number(((v - low) * 10_000n) / range) / 10_000) * (h - 62);
  const step = w / steps.length;
  const value = (s: (typeof steps)[number]) => (s.key === 'in' ? `+${amountText(moved.in, asset)}` : s.key === 'out' ? amountText(-BigInt(moved.out), asset) : s.key === 'fees' ? amountText(-BigInt(moved.fees), asset) : amountText(s.to, asset));
  const narrow = step < 105;
  return (
    <div ref={ref}>
      <svg width={w} height={h} role="img" aria-label={steps.map((s) => `${t(s.key)} ${value(s)}`).join(', ')} className={classes.waterfall}>
        <line x1={0} x2={w} y1={y(0n)} y2={y(0n)} className={classes.zero} />
        {steps.map((s, i) => {
          const top = Math.min(y(s.from), y(s.to));
          const tall = Math.max(2, Math.abs(y(s.from) - y(s.to)));
          return (
            <g key={s.key}>
              <rect x={i * step + step * 0.16} width={step * 0.68} y={top} height={tall} rx={2} className={classes[s.kind]} />
              {i < 4 && <line x1={i * step + step * 0.84} x2={(i + 1) * step + step * 0.16} y1={y(s.to)} y2={y(s.to)} className={classes.joint} />}
              <text x={(i + 0.5) * step} y={top - 6} textAnchor="middle" className={classes.value}>{narrow ? '' : value(s)}</text>
              <text x={(i + 0.5) * step} y={h - 8} textAnchor="middle">{t(s.key)}</text>
            </g>
          );
        })}
      </svg>
    </div>
  );
}
