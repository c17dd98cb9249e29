import { Stack, Table, Text } from '@mantine/core';
import { useLook } from '../../data';
import { Panel, Sentence, Shown, State, Title, Twin, When, Wide } from '../../parts';
import { useWords } from '../../words/words';
import classes from './slo.module.css';
import words from './words.json';

type Window = { name: string; good: number; all: number; burn?: number; seen_s: number; whole_s: number };
type Objective = { id: string; target: number; says: { en: string; zh: string }; windows: Window[]; left?: number; alert?: 'page' | 'ticket'; since?: string };
type Look = { at: string; says: string; objectives: Objective[] };

export default function SLO() {
  const t = useWords(words);
  const look = useLook<Look>(`/slo?lang=${t.lang}`, { every: 30_000, keep: true });
  const all = look.data?.objectives ?? [];
  const tone = all.some((o) => o.alert === 'page') ? 'bad' : all.some((o) => o.alert) ? 'wait' : all.some((o) => o.left !== undefined) ? 'good' : 'idle';
  return (
    <>
      <Title right={<Twin cmd="moneta slo" />}>{t('title')}</Title>
      <Sentence tone={tone}>{look.data?.says ?? t('loading')}</Sentence>
      <Shown of={look} rows={8}>
        {(d) => (
          <Stack gap="md">
            {d.objectives.map((o) => <One key={o.id} o={o} />)}
            <Text size="sm" c="dimmed">{t('how')}</Text>
          </Stack>
        )}
      </Shown>
    </>
  );
}

function One({ o }: { o: Objective }) {
  const t = useWords(words);
  const left = o.left === undefined ? undefined : Math.max(0, Math.min(1, o.left));
  return (
    <Panel title={t.lang === 'zh' ? o.says.zh : o.says.en}>
      {o.left === undefined || left === undefined ? (
        <Text size="sm" c="dimmed">{t('unseen')}</Text>
      ) : (
        <>
          <Text size="sm">
            {o.left < 0 ? t('overspent', { n: (-100 * o.left).toFixed(0) }) : t('left', { n: (100 * o.left).toFixed(1) })} {o.since && <>{t('since')} <When at={o.since} /></>}{' '}
            {o.alert && <State tone={o.alert === 'page' ? 'bad' : 'wait'}>{t(o.alert === 'page' ? 'page' : 'ticket')}</State>}
          </Text>
          <div className={classes.bar} role="img" aria-label={t('left', { n: (100 * left).toFixed(1) })}>
            <span style={{ width: `${100 * left}%` }} data-low={left < 0.1} />
          </div>
          <Wide label={t('windows')} least={480}>
            <Table verticalSpacing={5}>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th scope="col">{t('window')}</Table.Th>
                  <Table.Th scope="col">{t('burn')}</Table.Th>
                  <Table.Th scope="col">{t('bad')}</Table.Th>
                  <Table.Th scope="col">{t('seen')}</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {o.windows.map((w) => (
                  <Table.Tr key={w.name}>
                    <Table.Td>{w.name}</Table.Td>
                    <Table.Td className={classes.number}>{w.burn === undefined ? '—' : `${w.burn.toFixed(2)} ×`}</Table.Td>
                    <Table.Td className={classes.number}>{t('bad_of', { n: (w.all - w.good).toLocaleString('en'), of: w.all.toLocaleString('en') })}</Table.Td>
                    <Table.Td className={classes.number}>{w.seen_s >= w.whole_s ? t('whole') : t('part', { n: ((100 * w.seen_s) / w.whole_s).toFixed(w.seen_s / w.whole_s < 0.1 ? 1 : 0) })}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </Wide>
        </>
      )}
    </Panel>
  );
}
