import { Button, Center, Code, Group, Paper, PasswordInput, Stack, Text } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import { useSessionChange } from '../data';
import { CopyButton, Problem } from '../parts';
import { useWords } from '../words/words';

const head = '#link=';

/** SignIn asks who it is; the address stays, so that the page that was asked for comes. */
export function SignIn({ after }: { after: (from: 'link') => void }) {
  const t = useWords();
  const { signInByLink } = useSessionChange();
  const [text, setText] = useState('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>(null);
  const tried = useRef(false);

  const go = async (link: string) => {
    setBusy(true);
    setProblem(null);
    try {
      await signInByLink(link);
      after('link');
    } catch (e) {
      setProblem(e);
      setBusy(false);
    }
  };

  useEffect(() => {
    if (tried.current || !location.hash.startsWith(head)) return;
    tried.current = true;
    const link = location.hash.slice(head.length);
    // It is used up now; nobody needs it in the history.
    history.replaceState(null, '', location.pathname + location.search);
    void go(link);
  });

  return (
    <Center component="main" id="content" mih="100dvh" p="md">
      <Paper withBorder p="xl" radius="md" w="100%" maw={460}>
        <Stack gap="md">
          <h1 style={{ fontSize: '1.35rem', margin: 0 }}>{t('signin_title')}</h1>
          {problem !== null && <Problem of={problem} />}
          <Text size="sm">{t('signin_how')}</Text>
          <Group gap={4} wrap="nowrap">
            <Code fz="sm">moneta console link</Code>
            <CopyButton text="moneta console link" />
          </Group>
          <form
            onSubmit={(e) => {
              e.preventDefault();
              const at = text.indexOf(head);
              void go((at < 0 ? text : text.slice(at + head.length)).trim());
            }}
          >
            <Stack gap="sm">
              <PasswordInput label={t('signin_link')} placeholder={t('signin_paste')} value={text} onChange={(e) => setText(e.currentTarget.value)} autoComplete="off" autoFocus />
              <Button type="submit" loading={busy} disabled={text.trim() === ''}>
                {busy ? t('signin_doing') : t('signin_go')}
              </Button>
            </Stack>
          </form>
          {location.pathname !== '/' && location.pathname !== '/signin' && (
            <Text size="sm" c="dimmed">
              {t('signin_back')}
            </Text>
          )}
        </Stack>
      </Paper>
    </Center>
  );
}
