import { Button, Group, Stack, Table, Text } from '@mantine/core';
import { CopyButton, Empty, Mark, Money, Panel, State, Twin, When, Wide } from '../../parts';
import { useWords } from '../../words/words';
import type { Room } from './types';
import words from './words.json';

/** ProofPanel is the recount at the end: sums, counts, signature, and the file. */
export function ProofPanel({ r }: { r: Room }) {
  const t = useWords(words);
  const p = r.proved;
  if (!r.proof || !p) {
    return (
      <Panel title={t('proof')}>
        <Empty title={t('proof_none')}>{t('proof_none_why')}</Empty>
      </Panel>
    );
  }
  return (
    <Panel title={t('proof')} right={<Button component="a" href={`/api/look/incidents/${encodeURIComponent(r.id)}/proof`} download size="compact-sm" variant="default">{t('download')}</Button>}>
      <Stack gap="sm">
        <Group gap="md">
          {r.proof.clean ? <State tone="good">{t('proof_clean')}</State> : <State tone="bad">{t('proof_off')}</State>}
          {p.valid ? <State tone="good">{t('signed')}</State> : <State tone="bad">{t('not_signed')}</State>}
          {p.at && <Text size="sm" c="dimmed"><When at={p.at} /></Text>}
        </Group>
        {!p.valid && <Text size="sm">{p.why}</Text>}
        {p.valid && (
          <>
            <Text size="sm">{t('proof_counted', { rows: p.rows.toLocaleString('en-US').replace(/,/g, ' '), s: (p.took_ms / 1000).toFixed(1) })}</Text>
            <Wide label={t('proof_sums')} least={320}>
              <Table verticalSpacing={4} fz="sm">
                <Table.Thead><Table.Tr><Table.Th scope="col">{t('asset')}</Table.Th><Table.Th scope="col" ta="right">{t('moved')}</Table.Th><Table.Th scope="col" ta="right">{t('sum')}</Table.Th></Table.Tr></Table.Thead>
                <Table.Tbody>
                  {p.assets.map((a) => (
                    <Table.Tr key={a.asset}>
                      <Table.Td>{a.asset}</Table.Td>
                      <Table.Td ta="right"><Money amount={a.moved} asset={a.asset} /></Table.Td>
                      <Table.Td ta="right"><Money amount={a.sum} asset={a.asset} strong /></Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            </Wide>
            <details>
              <summary>{t('checks_n', { n: p.checks.length, bad: p.checks.filter((c) => c.faults > 0).length })}</summary>
              <Stack gap={3} mt={6}>
                {p.checks.map((c) => (
                  <Group key={c.name} gap={8} wrap="nowrap" align="flex-start">
                    <span style={{ paddingTop: 3 }}><Mark tone={c.faults > 0 ? 'bad' : 'good'} /></span>
                    <Text size="sm">{p.texts[c.name]?.[t.lang] ?? c.name} <Text span size="sm" c="dimmed">{c.faults > 0 ? t('check_faults', { n: c.faults, of: c.asked }) : t('check_asked', { n: c.asked })}</Text></Text>
                  </Group>
                ))}
                {p.rails.map((x) => (
                  <Group key={x.channel} gap={8} wrap="nowrap" align="flex-start">
                    <span style={{ paddingTop: 3 }}><Mark tone={x.proved ? 'good' : 'wait'} /></span>
                    <Text size="sm">{t('rail', { channel: x.channel })} <Text span size="sm" c="dimmed">{x.proved ? t('rail_matched', { n: x.matched, of: x.effects }) : x.why}</Text></Text>
                  </Group>
                ))}
              </Stack>
            </details>
            {p.not_proved.length > 0 && <Text size="sm">{t('not_proved')} {p.not_proved.join('; ')}</Text>}
            <Text size="xs" c="dimmed" style={{ overflowWrap: 'anywhere' }}>{t('sha')} {p.sha256} <CopyButton text={p.sha256 ?? ''} /><br />{t('key')} {p.key}</Text>
          </>
        )}
        {r.breaks.map((b) => <Text key={b.text} size="sm"><strong>{b.text}</strong> {t('owner', { who: b.owner })}</Text>)}
        <Twin cmd={`moneta prove --verify ${p.file}`} />
      </Stack>
    </Panel>
  );
}
