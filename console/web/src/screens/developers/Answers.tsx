import { Accordion, Code, Group, NativeSelect, Stack, Text } from '@mantine/core';
import { useMemo } from 'react';
import { useParam, usePay } from '../../data';
import { AsCurl, Empty, Go, Id, Panel, Sheet, Shown, State, Twin, When } from '../../parts';
import { useWords } from '../../words/words';
import words from './words.json';

type Answered = { key?: string; method: string; path: string; status: number; type?: string; code?: string; title?: string; title_zh?: string; count: number; first_at: string; last_at: string; trace_id?: string };
type Kind = { code: string; status: number; title: string; n: number; first: string; last: string; groups: Answered[] };

const spans = ['1', '7', '14'] as const;

/** Answers is what the API answered to the tenant's keys, grouped by error. */
export function Answers() {
  const t = useWords(words);
  const [asked, setDays] = useParam('days', '7');
  const [key, setKey] = useParam('key');
  const days = spans.find((s) => s === asked) ?? '7';
  const path = `/v1/requests?show=all&days=${days}`;
  const all = usePay<{ data: Answered[]; has_more: boolean }>(path, { every: 10_000, keep: true });
  const keys = [...new Set((all.data?.data ?? []).map((g) => g.key ?? ''))].sort();
  return (
    <Panel
      title={t('tab_answers')}
      right={
        <Group gap="xs">
          <NativeSelect size="xs" aria-label={t('answers_days')} value={days} onChange={(e) => setDays(e.currentTarget.value)} data={spans.map((s) => ({ value: s, label: t(s === '1' ? 'answers_today' : 'answers_n_days', { n: s }) }))} />
          <NativeSelect size="xs" aria-label={t('key')} value={key} onChange={(e) => setKey(e.currentTarget.value)} data={[{ value: '', label: t('answers_all_keys') }, ...keys.filter(Boolean).map((k) => ({ value: k, label: k }))]} />
          <AsCurl call={{ path }} />
        </Group>
      }
    >
      <Shown of={all} rows={6}>
        {({ data, has_more }) => (
          <Stack gap="sm">
            <ByError all={data.filter((g) => key === '' || g.key === key)} />
            {has_more && <Text size="sm" c="dimmed">{t('answers_more')}</Text>}
            <Text size="sm" c="dimmed">{t('answers_how')}</Text>
            <Twin cmd={`moneta key requests --days ${days}`} />
          </Stack>
        )}
      </Shown>
    </Panel>
  );
}

function ByError({ all }: { all: Answered[] }) {
  const t = useWords(words);
  const kinds = useMemo(() => {
    const by = new Map<string, Kind>();
    for (const g of all) {
      if (!g.code) continue;
      const k = by.get(g.code) ?? { code: g.code, status: g.status, title: (t.lang === 'zh' ? g.title_zh : g.title) ?? g.code, n: 0, first: g.first_at, last: g.last_at, groups: [] };
      k.n += g.count;
      if (g.first_at < k.first) k.first = g.first_at;
      if (g.last_at > k.last) k.last = g.last_at;
      k.groups.push(g);
      by.set(g.code, k);
    }
    return [...by.values()].sort((a, b) => b.n - a.n);
  }, [all, t.lang]);
  const total = all.reduce((n, g) => n + g.count, 0);
  const refused = kinds.reduce((n, k) => n + k.n, 0);
  if (total === 0) return <Empty title={t('answers_none')}>{t('answers_none_do')}</Empty>;
  const most = kinds[0]?.n ?? 1;
  return (
    <>
      <Text fw={600}>{t(refused === 0 ? 'answers_well' : 'answers_sum', { total, refused })}</Text>
      {kinds.length > 0 && (
        <Accordion variant="contained" order={3} chevronPosition="left" multiple>
          {kinds.map((k) => (
            <Accordion.Item key={k.code} value={k.code} data-answered={k.code}>
              <Accordion.Control>
                <Group gap="sm" wrap="wrap">
                  <State tone={k.status >= 500 ? 'bad' : 'wait'}>{k.n}</State>
                  <Code>{k.status} {k.code}</Code>
                  <Text span size="sm">{k.title}</Text>
                  <Text span size="sm" c="dimmed">{t('answers_last')} <When at={k.last} stamp={false} /></Text>
                </Group>
                <div aria-hidden style={{ height: 4, marginTop: 6, borderRadius: 2, width: `${Math.max(1, (100 * k.n) / most)}%`, background: 'light-dark(#0a6f73, #52acae)' }} />
              </Accordion.Control>
              <Accordion.Panel>
                <Stack gap="xs">
                  <Text size="sm">{t('answers_first')} <When at={k.first} />. <Go to={`/developers?tab=errors&find=${k.code}`}>{t('answers_why')}</Go></Text>
                  <Sheet
                    label={`${k.status} ${k.code}`}
                    least={620}
                    rows={k.groups}
                    keyOf={(g) => `${g.key ?? ''} ${g.method} ${g.path}`}
                    columns={[
                      { name: t('answers_request'), of: (g) => <Code>{g.method} {g.path}</Code> },
                      { name: t('key'), of: (g) => (g.key ? <Code>{g.key}</Code> : t('answers_people')) },
                      { name: t('answers_n'), of: (g) => g.count },
                      { name: t('answers_newest'), of: (g) => <When at={g.last_at} /> },
                      { name: t('answers_example'), of: (g) => (g.trace_id ? <Id id={g.trace_id} /> : '—') },
                    ]}
                  />
                </Stack>
              </Accordion.Panel>
            </Accordion.Item>
          ))}
        </Accordion>
      )}
    </>
  );
}
