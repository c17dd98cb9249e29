import { Button, Center, Code, Collapse, Divider, Group, Paper, PasswordInput, Stack, Text, TextInput } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import { gaveUp, passkeysHere, signInByCode, signInByPasskey, useSessionChange, type Session } from '../data';
import { CopyButton, Plain, Problem } from '../parts';
import { useWords } from '../words/words';

const head = '#link=';

/** SignIn asks who it is: a passkey, a pass with a code, or a one-time link. The address
 * stays, so that the page that was asked for comes; no link can send people elsewhere. */
export function SignIn({ after }: { after: (from: 'link') => void }) {
  const t = useWords();
  const { signInByLink, become } = useSessionChange();
  const [name, setName] = useState('');
  const [pass, setPass] = useState('');
  const [code, setCode] = useState('');
  const [link, setLink] = useState('');
  const [linkOpen, setLinkOpen] = useState(false);
  const [busy, setBusy] = useState<'' | 'passkey' | 'code' | 'link'>('');
  const [problem, setProblem] = useState<unknown>(null);
  const tried = useRef(false);

  const go = async (how: 'passkey' | 'code' | 'link', enter: () => Promise<Session | void>) => {
    setBusy(how);
    setProblem(null);
    try {
      const session = await enter();
      if (session) become(session);
      after('link');
    } catch (e) {
      setProblem(gaveUp(e) ? new Error(t('signin_no_passkey')) : e);
      setBusy('');
    }
  };
  const byLink = (text: string) => {
    const at = text.indexOf(head);
    void go('link', () => signInByLink((at < 0 ? text : text.slice(at + head.length)).trim()));
  };

  useEffect(() => {
    if (tried.current || !location.hash.startsWith(head)) return;
    tried.current = true;
    const from = location.hash;
    // It is used up now; nobody needs it in the history.
    history.replaceState(null, '', location.pathname + location.search);
    byLink(from);
  });

  return (
    <Center component="main" id="content" mih="100dvh" p="md">
      <Paper withBorder p="xl" radius="md" w="100%" maw={440}>
        <Stack gap="md">
          <h1 style={{ fontSize: '1.35rem', margin: 0 }}>{t('signin_title')}</h1>
          {problem !== null && <Problem of={problem} />}
          <Stack gap={6}>
            <Button size="md" loading={busy === 'passkey'} disabled={busy !== '' || !passkeysHere()} onClick={() => void go('passkey', signInByPasskey)} autoFocus>
              {t('signin_passkey')}
            </Button>
            {!passkeysHere() && (
              <Text size="sm" c="dimmed">
                {t('signin_passkeys_not_here')}
              </Text>
            )}
          </Stack>
          <Divider label={t('signin_or_code')} labelPosition="center" />
          <form
            onSubmit={(e) => {
              e.preventDefault();
              void go('code', () => signInByCode(name, pass, code));
            }}
          >
            <Stack gap="sm">
              <TextInput label={t('signin_name')} value={name} onChange={(e) => setName(e.currentTarget.value)} name="username" autoComplete="username" autoCapitalize="none" spellCheck={false} />
              <PasswordInput label={t('signin_pass')} description={t('signin_pass_is')} value={pass} onChange={(e) => setPass(e.currentTarget.value)} name="password" autoComplete="current-password" />
              <TextInput label={t('signin_code')} value={code} onChange={(e) => setCode(e.currentTarget.value)} inputMode="numeric" autoComplete="one-time-code" maxLength={6} w={140} />
              <Button type="submit" variant="default" loading={busy === 'code'} disabled={busy !== '' || pass.trim() === '' || !/^\d{6}$/.test(code.trim())}>
                {t('signin_go')}
              </Button>
            </Stack>
          </form>
          <div>
            <Plain onClick={() => setLinkOpen(!linkOpen)}>{t('signin_by_link')}</Plain>
          </div>
          <Collapse expanded={linkOpen}>
            <Stack gap="sm">
              <Text size="sm">{t('signin_how')}</Text>
              <Group gap={4} wrap="nowrap">
                <Code fz="sm">moneta console link</Code>
                <CopyButton text="moneta console link" />
              </Group>
              <form
                onSubmit={(e) => {
                  e.preventDefault();
                  byLink(link);
                }}
              >
                <Group gap="sm" align="end" wrap="nowrap">
                  <PasswordInput label={t('signin_link')} placeholder={t('signin_paste')} value={link} onChange={(e) => setLink(e.currentTarget.value)} autoComplete="off" style={{ flex: 1 }} />
                  <Button type="submit" variant="default" loading={busy === 'link'} disabled={busy !== '' || link.trim() === ''}>
                    {t('signin_go')}
                  </Button>
                </Group>
              </form>
            </Stack>
          </Collapse>
          <Text size="sm" c="dimmed">
            {t('signin_without_database')}
            {location.pathname !== '/' && location.pathname !== '/signin' && ` ${t('signin_back')}`}
          </Text>
        </Stack>
      </Paper>
    </Center>
  );
}
