import { Button, Checkbox, Group, SegmentedControl, Stack, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import { amountText, may, useDo, useParam, usePay, useSession } from '../../data';
import { AsCurl, Empty, Panel, Problem, Sentence, Shown, State, Title, Twin, When, Wide, Id } from '../../parts';
import { useWords } from '../../words/words';
import classes from './finance.module.css';
import { RollForward } from './RollForward';
import words from './words.json';

type Line = { account: string; asset: string; debit: string; credit: string; debit_turnover: string; credit_turnover: string };
type Total = { asset: string; debit: string; credit: string; balanced: boolean; books_astray: number };
type Trial = { by: string; as_of?: string; lines: Line[]; totals: Total[]; sound: boolean };
type Period = { asset: string; through: string; until: string; closed_at: string; closed_by: string; trial_balance_sha256?: string };

/** The last instant of a day that a ledger can tell. */
const endOf = (day: string) => `${day}T23:59:59.999999Z`;

export default function Finance() {
  const t = useWords(words);
  const [day, setDay] = useParam('day');
  const [by, setBy] = useParam('by', 'booking');
  const [asset, setAsset] = useParam('asset');
  const path = `/v1/trial-balance?by=${by}${day ? `&as_of=${endOf(day)}` : ''}`;
  const trial = usePay<Trial>(path, { every: day ? undefined : 30_000, keep: true });
  const assets = trial.data?.totals.map((x) => x.asset) ?? [];
  const chosen = assets.includes(asset) ? asset : (assets[0] ?? '');
  const total = trial.data?.totals.find((x) => x.asset === chosen);
  return (
    <>
      <Title right={<><AsCurl call={{ path }} /><Twin cmd="moneta export trial-balance" /></>}>{t('title')}</Title>
      {trial.data && (
        !trial.data.sound ? (
          <Sentence tone="bad" age={trial.age}>{t('says_off', { which: trial.data.totals.filter((x) => !x.balanced || x.books_astray > 0).map((x) => x.asset).join(', ') })}</Sentence>
        ) : total ? (
          <Sentence tone="good" age={trial.age}>{t(assets.length === 1 ? 'says_well_one' : 'says_well', { n: assets.length, value: amountText(total.debit, chosen) })}</Sentence>
        ) : (
          <Sentence tone="idle" age={trial.age}>{t('says_nothing')}</Sentence>
        )
      )}
      <Stack gap="md">
        <Panel
          title={t('trial')}
          right={
            <Group gap="xs" align="end">
              {assets.length > 1 && <SegmentedControl size="xs" aria-label={t('asset')} value={chosen} onChange={setAsset} data={assets} />}
              <SegmentedControl size="xs" aria-label={t('by')} value={by} onChange={setBy} data={[{ value: 'booking', label: t('by_booking') }, { value: 'effective', label: t('by_effective') }]} />
            </Group>
          }
        >
          <Group gap="sm" align="end" mb="sm">
            <TextInput type="date" size="xs" label={t('through_day')} value={day} onChange={(e) => setDay(e.currentTarget.value)} />
            {day && <Button size="xs" variant="default" onClick={() => setDay('')}>{t('now')}</Button>}
          </Group>
          <Shown of={trial} rows={8}>
            {(b) => (total ? <Balance lines={b.lines.filter((l) => l.asset === chosen)} total={total} asset={chosen} /> : <Empty title={t('says_nothing')}>{t('nothing_why')}</Empty>)}
          </Shown>
        </Panel>
        <RollForward assets={assets} asset={chosen} />
        <Periods assets={assets} />
      </Stack>
    </>
  );
}

function Balance({ lines, total, asset }: { lines: Line[]; total: Total; asset: string }) {
  const t = useWords(words);
  const most = lines.reduce((m, l) => [l.debit, l.credit].reduce((n, v) => (BigInt(v) > n ? BigInt(v) : n), m), 1n);
  const wide = (v: string) => Number((BigInt(v) * 1000n) / most) / 10;
  return (
    <Wide label={t('trial')} least={840}>
      <table className={classes.table}>
        <thead>
          <tr>
            <th scope="col">{t('account')}</th>
            <th scope="col" className={classes.num}>{t('debit')}</th>
            <th scope="col" aria-hidden className={classes.bars} />
            <th scope="col" className={classes.num}>{t('credit')}</th>
            <th scope="col" className={classes.num}>{t('debit_turnover')}</th>
            <th scope="col" className={classes.num}>{t('credit_turnover')}</th>
          </tr>
        </thead>
        <tbody>
          {lines.map((l) => (
            <tr key={l.account}>
              <th scope="row" className={classes.wideName}>{l.account}</th>
              <td className={classes.num}>{l.debit === '0' ? '' : amountText(l.debit, asset)}</td>
              <td className={classes.bars} aria-hidden>
                <span className={classes.half}><i className={classes.debit} style={{ width: `${wide(l.debit)}%` }} /></span>
                <span className={classes.half}><i className={classes.credit} style={{ width: `${wide(l.credit)}%` }} /></span>
              </td>
              <td className={classes.num}>{l.credit === '0' ? '' : amountText(l.credit, asset)}</td>
              <td className={classes.num}>{amountText(l.debit_turnover, asset)}</td>
              <td className={classes.num}>{amountText(l.credit_turnover, asset)}</td>
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row"><State tone={total.balanced && total.books_astray === 0 ? 'good' : 'bad'}>{t(total.balanced ? 'balanced' : 'unbalanced')}</State></th>
            <td className={classes.num} data-testid="total-debit">{amountText(total.debit, asset)}</td>
            <td className={classes.bars} />
            <td className={classes.num} data-testid="total-credit">{amountText(total.credit, asset)}</td>
            <td colSpan={2}>{total.books_astray > 0 && t('astray', { n: total.books_astray })}</td>
          </tr>
        </tfoot>
      </table>
    </Wide>
  );
}

/** yesterday in UTC: the last day that can be over. */
const yesterday = () => new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);

function Periods({ assets }: { assets: string[] }) {
  const t = useWords(words);
  const { session } = useSession();
  const closed = usePay<{ data: Period[] }>('/v1/periods', { every: 30_000 });
  const able = may(session, 'approver') && !session?.local;
  return (
    <Panel title={t('periods')} right={<Twin cmd="moneta periods --verify" />}>
      <Shown of={closed} rows={2}>
        {(l) =>
          l.data.length === 0 ? (
            <Text c="dimmed" mb="md">{t('none_closed')}</Text>
          ) : (
            <Wide label={t('periods')} least={640}>
              <table className={classes.table}>
                <thead><tr><th scope="col">{t('through')}</th><th scope="col">{t('asset')}</th><th scope="col">{t('closed')}</th><th scope="col">{t('seal')}</th></tr></thead>
                <tbody>
                  {l.data.map((p) => (
                    <tr key={`${p.asset}${p.until}`}>
                      <td>{p.through}</td>
                      <td>{p.asset}</td>
                      <td><When at={p.closed_at} /> · {p.closed_by}</td>
                      <td>{p.trial_balance_sha256 ? <Id id={p.trial_balance_sha256} link={false} /> : t('not_sealed')}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </Wide>
          )
        }
      </Shown>
      {able ? <Close assets={assets} /> : <Text size="sm" c="dimmed">{t('close_who')}</Text>}
    </Panel>
  );
}

function Close({ assets }: { assets: string[] }) {
  const t = useWords(words);
  const [asset, setAsset] = useState('');
  const [through, setThrough] = useState(yesterday());
  const [sure, setSure] = useState(false);
  const chosen = asset || assets[0] || '';
  const preview = usePay<Trial>(chosen && through ? `/v1/trial-balance?by=effective&asset=${chosen}&as_of=${endOf(through)}` : null);
  const close = useDo(() => ({ path: '/api/pay/v1/periods', body: { asset: chosen, through } }), ['/api/pay/v1/periods']);
  const total = preview.data?.totals[0];
  return (
    <Stack gap="xs" mt="md" component="form" onSubmit={(e) => { e.preventDefault(); if (sure) close.mutate(undefined, { onSuccess: () => setSure(false) }); }}>
      <h3 className={classes.h3}>{t('close_books')}</h3>
      <Group gap="sm" align="end">
        {assets.length > 1 && <SegmentedControl size="xs" aria-label={t('asset')} value={chosen} onChange={(v) => { setAsset(v); setSure(false); }} data={assets} />}
        <TextInput type="date" size="xs" label={t('through_day')} max={yesterday()} value={through} onChange={(e) => { setThrough(e.currentTarget.value); setSure(false); }} />
      </Group>
      <ul className={classes.after}>
        <li>{t('after_1', { asset: chosen, day: through })}</li>
        <li>{t('after_2')}</li>
        <li>{t('after_3', { total: total ? amountText(total.debit, chosen) : '—' })}</li>
        <li>{t('after_4')}</li>
      </ul>
      <Checkbox size="xs" checked={sure} onChange={(e) => setSure(e.currentTarget.checked)} label={t('sure', { asset: chosen, day: through })} />
      <Button type="submit" size="xs" disabled={!sure || !chosen || !through} loading={close.isPending} style={{ alignSelf: 'start' }}>{t('close_now')}</Button>
      {close.isSuccess && <Text size="sm" role="status">{t('is_closed')}</Text>}
      {close.error && <Problem of={close.error} />}
    </Stack>
  );
}
