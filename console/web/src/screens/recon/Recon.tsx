import { Button, Group, SegmentedControl, Select, Stack, TextInput } from '@mantine/core';
import { amountText, useParam, usePay, type Result } from '../../data';
import { AsCurl, Empty, Panel, Sentence, Shown, Title, Twin, useSpan } from '../../parts';
import { useWords } from '../../words/words';
import { Ages } from './Ages';
import { Breaks } from './Breaks';
import { dayBefore, type Age, type List, type PictureOf } from './model';
import { ThreeColumns } from './Picture';
import { Statements } from './Statements';
import words from './words.json';

const look = 15_000;

export default function Recon() {
  const t = useWords(words);
  const [from, setFrom] = useParam('from', dayBefore(0));
  const [to, setTo] = useParam('to', dayBefore(0));
  const [channel, setChannel] = useParam('channel');
  const [asset, setAsset] = useParam('asset');
  const path = `/v1/recon/picture?from=${from}&to=${to}${channel ? `&channel=${encodeURIComponent(channel)}` : ''}`;
  const picture = usePay<PictureOf>(path, { every: look, keep: true });
  const ages = usePay<List<Age>>('/v1/recon/ages', { every: look, keep: true });
  const every = usePay<PictureOf>(`/v1/recon/picture?from=${dayBefore(0)}&to=${dayBefore(0)}`, { keep: true });
  const names = every.data?.channels.map((c) => c.channel) ?? (channel ? [channel] : []);
  const assets = [...new Set((picture.data?.channels ?? []).flatMap((c) => c.days.map((d) => d.asset)))].sort();
  const chosen = assets.includes(asset) ? asset : (assets[0] ?? '');
  return (
    <>
      <Title right={<><AsCurl call={{ path }} /><Twin cmd="moneta recon breaks" /></>}>{t('title')}</Title>
      <Summary picture={picture} ages={ages} />
      <Stack gap="md">
        <Group gap="sm" align="end">
          <TextInput type="date" size="xs" label={t('from')} value={from} max={to} onChange={(e) => setFrom(e.currentTarget.value)} />
          <TextInput type="date" size="xs" label={t('to')} value={to} min={from} onChange={(e) => setTo(e.currentTarget.value)} />
          <Button size="xs" variant="default" onClick={() => { setFrom(''); setTo(''); }}>{t('today')}</Button>
          <Button size="xs" variant="default" onClick={() => { setFrom(dayBefore(6)); setTo(''); }}>{t('week')}</Button>
          <Select size="xs" label={t('channel')} placeholder={t('all')} clearable data={names} value={channel || null} onChange={(v) => setChannel(v ?? '')} />
          {assets.length > 1 && <SegmentedControl size="xs" aria-label={t('asset')} value={chosen} onChange={setAsset} data={assets} />}
        </Group>
        <Panel title={t('three')} right={<Twin cmd="moneta recon picture" />}>
          <Shown of={picture} rows={8}>
            {(p) => (chosen === '' ? <Empty title={t('quiet')}>{t('quiet_why')}</Empty> : <ThreeColumns channels={p.channels} asset={chosen} label={t('picture_label', { from: p.from, to: p.to, asset: chosen })} />)}
          </Shown>
        </Panel>
        <Panel title={t('ages')} right={<Twin cmd="moneta recon ages" />}>
          <Shown of={ages}>{(a) => <Ages all={channel ? a.data.filter((x) => x.channel === channel) : a.data} />}</Shown>
        </Panel>
        <Breaks />
        <Statements channels={names} />
      </Stack>
    </>
  );
}

/** Summary is the screen in one sentence. */
function Summary({ picture, ages }: { picture: Result<PictureOf>; ages: Result<List<Age>> }) {
  const t = useWords(words);
  const span = useSpan();
  if (!picture.data || !ages.data) return null;
  const days = picture.data.channels.flatMap((c) => c.days);
  const count = (k: 'matched' | 'awaited' | 'overdue') => days.reduce((n, d) => n + d[k].count, 0);
  const risk = ages.data.data.filter((a) => a.severity === 1);
  const open = ages.data.data.reduce((n, a) => n + a.count, 0);
  const read = Math.max(0, ...picture.data.channels.flatMap((c) => (c.read_age_s === undefined || c.files ? [] : [c.read_age_s])));
  const loop = picture.data.channels.some((c) => c.read_age_s !== undefined) ? ` ${t('loop', { age: span('ago', read) })}` : '';
  if (risk.length > 0) {
    const values = new Map<string, bigint>();
    for (const a of risk) if (a.asset) values.set(a.asset, (values.get(a.asset) ?? 0n) + BigInt(a.value));
    const value = [...values].map(([asset, v]) => amountText(v, asset)).join(' + ') || '—';
    return <Sentence tone="bad" age={picture.age}>{t('says_risk', { n: risk.reduce((n, a) => n + a.count, 0), value, open })}{loop}</Sentence>;
  }
  if (open > 0) return <Sentence tone="wait" age={picture.age}>{t('says_open', { n: open })}{loop}</Sentence>;
  if (count('awaited') > 0) return <Sentence tone="wait" age={picture.age}>{t('says_awaited', { n: count('awaited'), late: count('overdue') })}{loop}</Sentence>;
  if (days.length === 0) return <Sentence tone="idle" age={picture.age}>{t('says_quiet')}{loop}</Sentence>;
  return <Sentence tone="good" age={picture.age}>{t('says_well', { n: count('matched') })}{loop}</Sentence>;
}
