import { Code, Select, Stack, Text } from '@mantine/core';
import { may, useDo, useLook, type Session } from '../../data';
import { Panel, Problem, Sheet, Shown, State } from '../../parts';
import { useWords } from '../../words/words';
import words from './words.json';

type Text2 = { en: string; zh: string };
type Sandbox = { banks: { code: string; trigger: string }[]; triggers: { id: string; does: Text2; sets: unknown }[] };

/** Banks makes a bank of the sandbox fail on purpose, to see what one's own program does. */
export function Banks({ session }: { session: Session | undefined }) {
  const t = useWords(words);
  const all = useLook<Sandbox>('/developers/sandbox', { every: 5000 });
  const set = useDo<unknown, { bank: string; trigger: string }>((v) => ({ path: '/api/look/developers/sandbox', body: v }), ['/api/look/developers/sandbox']);
  return (
    <Panel title={t('tab_sandbox')}>
      <Shown of={all} rows={8}>
        {(l) => (
          <Stack gap="sm">
            <Text size="sm" c="dimmed">{t('sandbox_how')}</Text>
            {set.error && <Problem of={set.error} />}
            <Sheet
              label={t('tab_sandbox')}
              least={460}
              rows={l.banks}
              keyOf={(b) => b.code}
              columns={[
                { name: t('bank'), of: (b) => <Code>bank-{b.code}</Code> },
                { name: t('state'), of: (b) => (b.trigger === 'honest' ? <State tone="good">{t('honest')}</State> : <State tone="wait">{t('misbehaves')}</State>) },
                {
                  name: t('does'),
                  of: (b) => (
                    <Select
                      aria-label={t('does_of', { bank: b.code })}
                      value={b.trigger}
                      onChange={(v) => v && set.mutate({ bank: b.code, trigger: v })}
                      data={[{ value: 'honest', label: t('honest_does') }, ...l.triggers.map((x) => ({ value: x.id, label: x.does[t.lang] }))]}
                      disabled={!may(session, 'operator') || set.isPending}
                      allowDeselect={false}
                      maw={340}
                    />
                  ),
                },
              ]}
            />
          </Stack>
        )}
      </Shown>
    </Panel>
  );
}
