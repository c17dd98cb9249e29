import { Accordion, Code, Group, Stack, Text, TextInput } from '@mantine/core';
import { useMemo } from 'react';
import { useLook, useParam, type Result } from '../../data';
import { AsCurl, Empty, Panel, Sheet, Shown, State, Wide } from '../../parts';
import { useWords } from '../../words/words';
import words from './words.json';

type Text2 = { en: string; zh: string };
export type Operation = { id: string; method: string; path: string; tag: string; summary: string; about: string; keyed: boolean; open: boolean; example?: unknown; answers: string[] };
type Events = { types: { type: string; when: Text2; sent: boolean }[]; example: unknown };
type Known = { code: string; status: number; retry: string; money_state: string; title: Text2; cause: Text2; fix: Text2 };

function useSearched<T>(all: T[], of: (x: T) => string): { text: string; setText: (s: string) => void; found: T[] } {
  const [text, setText] = useParam('find');
  const found = useMemo(() => {
    const parts = text.toLowerCase().split(/\s+/).filter(Boolean);
    return all.filter((x) => parts.every((p) => of(x).toLowerCase().includes(p)));
  }, [all, text]); // eslint-disable-line
  return { text, setText, found };
}

function Find({ label, text, setText }: { label: string; text: string; setText: (s: string) => void }) {
  return <TextInput label={label} value={text} onChange={(e) => setText(e.currentTarget.value)} maw={360} mb="sm" type="search" />;
}

/** Requests is every operation of the API, with an example to copy. */
export function Requests({ all }: { all: Result<Operation[]> }) {
  const t = useWords(words);
  return (
    <Panel title={t('tab_requests')}>
      <Shown of={all} rows={8}>{(l) => <RequestList all={l} />}</Shown>
    </Panel>
  );
}

function RequestList({ all }: { all: Operation[] }) {
  const t = useWords(words);
  const { text, setText, found } = useSearched(all, (o) => `${o.method} ${o.path} ${o.summary} ${o.tag} ${o.id} ${o.about}`);
  return (
    <>
      <Find label={t('find_request', { n: all.length })} text={text} setText={setText} />
      {found.length === 0 ? (
        <Empty title={t('none_found')}>{t('none_found_do')}</Empty>
      ) : (
        <Accordion variant="contained" order={3} chevronPosition="left">
          {found.slice(0, 120).map((o) => (
            <Accordion.Item key={o.id} value={o.id}>
              <Accordion.Control>
                <Group gap="sm" wrap="wrap">
                  <Code>{o.method}</Code>
                  <Text span style={{ overflowWrap: 'anywhere' }} ff="monospace" size="sm">{o.path}</Text>
                  <Text span size="sm">{o.summary}</Text>
                </Group>
              </Accordion.Control>
              <Accordion.Panel>
                <Stack gap="sm">
                  {o.about && <Text size="sm">{o.about}</Text>}
                  <Text size="sm" c="dimmed">{t('answers')} {o.answers.join(', ')}{o.open && `. ${t('open')}`}</Text>
                  {o.example !== undefined && (
                    <Wide label={t('example')}><Code block>{JSON.stringify(o.example, null, 1)}</Code></Wide>
                  )}
                  <div><AsCurl call={{ method: o.method, path: o.path, body: o.example, key: o.keyed ? 'order-4711' : undefined }} /></div>
                </Stack>
              </Accordion.Panel>
            </Accordion.Item>
          ))}
        </Accordion>
      )}
    </>
  );
}

/** Events is what is told, and how it looks. */
export function Events() {
  const t = useWords(words);
  const all = useLook<Events>('/developers/events');
  return (
    <Shown of={all}>
      {(l) => (
        <Stack gap="md">
          <Panel title={t('tab_events')} right={<AsCurl call={{ path: '/v1/events?wait=20' }} />}>
            <Text size="sm" c="dimmed" mb="sm">{t('events_how')}</Text>
            <Sheet
              label={t('tab_events')}
              least={520}
              rows={l.types}
              keyOf={(e) => e.type}
              columns={[
                { name: t('type'), of: (e) => <Code>{e.type}</Code> },
                { name: t('when'), of: (e) => e.when[t.lang] },
                { name: t('by_webhook'), of: (e) => (e.sent ? <State tone="good">{t('yes')}</State> : <State tone="idle">{t('list_only')}</State>) },
              ]}
            />
          </Panel>
          <Panel title={t('one_event')}>
            <Wide label={t('one_event')}><Code block>{JSON.stringify(l.example, null, 1)}</Code></Wide>
          </Panel>
        </Stack>
      )}
    </Shown>
  );
}

/** Errors is every code that an answer can have: why, and what to do. */
export function Errors() {
  const t = useWords(words);
  const all = useLook<Known[]>('/developers/errors');
  return (
    <Panel title={t('tab_errors')}>
      <Shown of={all} rows={8}>{(l) => <ErrorList all={l} />}</Shown>
    </Panel>
  );
}

function ErrorList({ all }: { all: Known[] }) {
  const t = useWords(words);
  const { text, setText, found } = useSearched(all, (e) => `${e.code} ${e.status} ${e.title.en} ${e.title.zh}`);
  return (
    <>
      <Find label={t('find_error', { n: all.length })} text={text} setText={setText} />
      {found.length === 0 ? (
        <Empty title={t('none_found')}>{t('none_found_do')}</Empty>
      ) : (
        <Sheet
          label={t('tab_errors')}
          least={680}
          rows={found}
          keyOf={(e) => e.code}
          top
          columns={[
            { name: t('code'), of: (e) => <><Code>{e.code}</Code><Text size="sm" c="dimmed">{e.status}</Text></> },
            { name: t('why'), of: (e) => e.cause[t.lang] },
            { name: t('fix'), of: (e) => e.fix[t.lang] },
            { name: t('money'), of: (e) => (e.money_state ? t.maybe(`money_${e.money_state}`) : '—') },
          ]}
        />
      )}
    </>
  );
}
