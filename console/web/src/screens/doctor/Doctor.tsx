import { Stack, Table, Text } from '@mantine/core';
import { memo } from 'react';
import { useLines, useLook, useNow, useWatch, type Collector, type Entry } from '../../data';
import { Ago, Empty, Go, Id, Loading, Panel, RangePick, Sentence, Shown, State, Title, Twin, useRange, When, Wide } from '../../parts';
import { useWords } from '../../words/words';
import words from './words.json';

/** A collector is late when three of its looks are missing. */
const late = (c: Collector) => !!c.error || c.age_s > 3 * c.every_s + 2;

export default function Doctor() {
  const t = useWords(words);
  const now = useNow();
  const lines = useLines();
  const blind = now?.collectors.filter(late) ?? [];
  // Who shows exceptions only (a switch among the incidents) is spared what wakes nobody.
  const focus = useLook<{ on: { until: string } | null }>('/focus', { every: 5000, keep: true });
  const on = focus.data?.on;
  const alarms = (now?.alarms ?? []).filter((a) => a.page || !on);
  const muted = (now?.alarms.length ?? 0) - alarms.length;
  const first = alarms[0];
  return (
    <>
      <Title right={<Twin cmd="moneta incident watch" />}>{t('title')}</Title>
      {!now ? (
        <Sentence tone="idle">{t('waiting_first')}</Sentence>
      ) : first ? (
        <Sentence tone={alarms.some((a) => a.page) ? 'bad' : 'wait'}>{t(alarms.length === 1 ? 'alarm_one' : 'alarms', { n: alarms.length, first: first.says })}</Sentence>
      ) : blind.length > 0 ? (
        <Sentence tone="wait">{t('blind', { n: blind.length, of: now.collectors.length })}</Sentence>
      ) : (
        <Sentence tone="good">{t('all_well', { n: now.collectors.length })}</Sentence>
      )}
      <Stack gap="md">
        {on && (
          <Text size="sm">
            <Go to="/incidents">{t('exceptions_only')}</Go> <When at={on.until} />. {muted > 0 && t('exceptions_muted', { n: muted })}
          </Text>
        )}
        {alarms.length > 0 && (
          <Panel title={t('alarms_now')}>
            <Stack gap={6}>
              {alarms.map((a) => (
                <div key={`${a.rule}${a.hop}${a.code}`}>
                  <State tone={a.page ? 'bad' : 'wait'}>{a.hop}</State> {a.says} <Text span size="sm" c="dimmed">{t('since')} <When at={a.since} /></Text>
                </div>
              ))}
            </Stack>
          </Panel>
        )}
        <Panel title={t('collectors')}>{now ? <Collectors all={now.collectors} /> : <Loading rows={6} />}</Panel>
        <Journal lines={lines} refusing={now?.journal.refusing} held={now?.journal.held ?? 0} last={now?.journal.last} />
      </Stack>
    </>
  );
}

function Collectors({ all }: { all: Collector[] }) {
  const t = useWords(words);
  return (
    <Wide label={t('collectors')} least={560}>
      <Table verticalSpacing={6}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">{t('name')}</Table.Th>
            <Table.Th scope="col">{t('newest')}</Table.Th>
            <Table.Th scope="col">{t('took')}</Table.Th>
            <Table.Th scope="col">{t('looks')}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {all.map((c) => (
            <Table.Tr key={c.name}>
              <Table.Td>
                {c.name} <Text span size="sm" c="dimmed">{c.hop}</Text>
                {c.error && <Text size="sm">{c.error}</Text>}
              </Table.Td>
              <Table.Td>
                {late(c) ? <State tone="wait">{t('late')}</State> : <State tone="good">{t('ok')}</State>} <Text span size="sm" c="dimmed">{c.newest ? <Ago at={c.newest} /> : t('none')}</Text>
              </Table.Td>
              <Table.Td style={{ fontVariantNumeric: 'tabular-nums' }}>{(c.took_s * 1000).toFixed(c.took_s < 0.01 ? 1 : 0)} ms</Table.Td>
              <Table.Td style={{ fontVariantNumeric: 'tabular-nums' }}>
                {c.looks}
                {c.failed > 0 && ` (${c.failed} ${t('failed')})`}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Wide>
  );
}

const shown = 60;
const shownOfRange = 300;

/** Journal is drawn when there is a line more, and not with each look: it is the largest
 * part of the page. */
const Journal = memo(function Journal({ lines, refusing, held, last }: { lines: Entry[]; refusing?: string; held: number; last?: number }) {
  const t = useWords(words);
  const range = useRange();
  const between = Object.entries({ from: range.from, to: range.to }).flatMap(([k, v]) => (v === undefined ? [] : [`${k}=${new Date(v).toISOString()}`]));
  const after = last === undefined ? null : `after=${Math.max(0, last - lines.length - shown)}`;
  const before = useWatch<Entry[]>(range.narrow ? `/journal?${between.join('&')}` : after && `/journal?${after}`, { keep: true });
  return (
    <Panel title={t('journal')} right={<RangePick spans={['15m', '1h', '24h', '7d']} />}>
      {refusing && <Sentence tone="bad">{t('journal_refusing', { why: refusing, n: held })}</Sentence>}
      <Shown of={before}>
        {(old) => {
          const all = new Map([...old, ...lines].map((e) => [e.seq, e]));
          const held = [...all.values()].filter((e) => range.holds(e.at));
          const newest = held.sort((a, b) => b.seq - a.seq).slice(0, range.narrow ? shownOfRange : shown);
          return newest.length === 0 ? (
            range.narrow ? <Empty title={t('range_none')} /> : <Empty title={t('journal_none')}>{t('journal_why')}</Empty>
          ) : (
            <Wide label={t('journal')} least={560}>
              <Table verticalSpacing={4}>
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th scope="col">{t('at')}</Table.Th>
                    <Table.Th scope="col">{t('what')}</Table.Th>
                    <Table.Th scope="col">{t('who')}</Table.Th>
                    <Table.Th scope="col" />
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {newest.map((e) => <Line key={e.seq} e={e} />)}
                </Table.Tbody>
              </Table>
            </Wide>
          );
        }}
      </Shown>
    </Panel>
  );
});

const Line = memo(function Line({ e }: { e: Entry }) {
  return (
    <Table.Tr>
      <Table.Td><When at={e.at} age={false} /></Table.Td>
      <Table.Td>{e.what}</Table.Td>
      <Table.Td>{e.who}</Table.Td>
      <Table.Td>{e.incident && <Id id={e.incident} />}</Table.Td>
    </Table.Tr>
  );
});
