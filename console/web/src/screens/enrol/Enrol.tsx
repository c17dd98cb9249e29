import { Button, Center, Code, Group, Paper, Stack, Text, TextInput } from '@mantine/core';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { ask, enrolByPasskey, ENTER, gaveUp, passkeysHere, useSessionChange, type Role, type Session } from '../../data';
import { CopyButton, Empty, Loading, Problem } from '../../parts';
import { useWords } from '../../words/words';
import words from './words.json';

const head = '#token=';
type Who = { name: string; role: Role };
type Codes = { id: string; name: string; pass: string; secret: string; address: string; qr: string };

/** Enrol takes an invitation up: the person makes a credential of their own, once. */
export default function Enrol() {
  const t = useWords(words);
  const [token] = useState(() => (location.hash.startsWith(head) ? location.hash.slice(head.length) : ''));
  const [who, setWho] = useState<Who>();
  const [codes, setCodes] = useState<Codes>();
  const [problem, setProblem] = useState<unknown>(null);
  useEffect(() => {
    if (token === '') return;
    ask<Who>(`${ENTER}/invitation`, { method: 'POST', body: { token } })
      .then((r) => setWho(r.data))
      .catch(setProblem);
  }, [token]);

  return (
    <Center mih="100dvh" p="md">
      <Paper withBorder p="xl" radius="md" w="100%" maw={520}>
        <Stack gap="md">
          <h1 style={{ fontSize: '1.35rem', margin: 0 }}>{who ? t('welcome', { name: who.name }) : t('title')}</h1>
          {token === '' && <Empty title={t('no_token')}>{t('no_token_do')}</Empty>}
          {problem !== null && <Problem of={problem} />}
          {token !== '' && !who && problem === null && <Loading rows={3} />}
          {who && !codes && <Choose who={who} token={token} onCodes={setCodes} onProblem={setProblem} />}
          {codes && <Shown codes={codes} token={token} onProblem={setProblem} />}
        </Stack>
      </Paper>
    </Center>
  );
}

function useIn() {
  const { become } = useSessionChange();
  const navigate = useNavigate();
  return (s: Session) => {
    become(s);
    history.replaceState(null, '', location.pathname);
    void navigate({ to: '/people', replace: true } as never);
  };
}

function Choose({ who, token, onCodes, onProblem }: { who: Who; token: string; onCodes: (c: Codes) => void; onProblem: (e: unknown) => void }) {
  const t = useWords(words);
  const enter = useIn();
  const [label, setLabel] = useState('');
  const [busy, setBusy] = useState('');
  const go = async (how: string, what: () => Promise<void>) => {
    setBusy(how);
    onProblem(null);
    try {
      await what();
    } catch (e) {
      onProblem(gaveUp(e) ? new Error(t('gave_up')) : e);
      setBusy('');
    }
  };
  return (
    <Stack gap="lg">
      <Text>{t('what', { role: t(`role_${who.role}`) })}</Text>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          void go('passkey', async () => enter(await enrolByPasskey(token, label.trim())));
        }}
      >
        <Stack gap="xs">
          <Text fw={600}>{t('passkey')}</Text>
          <Text size="sm">{t('passkey_why')}</Text>
          <TextInput label={t('label')} placeholder={t('label_eg')} value={label} onChange={(e) => setLabel(e.currentTarget.value)} maxLength={60} autoFocus />
          <Button type="submit" loading={busy === 'passkey'} disabled={busy !== '' || label.trim() === '' || !passkeysHere()}>
            {t('passkey_make')}
          </Button>
          {!passkeysHere() && <Text size="sm" c="dimmed">{t('signin_passkeys_not_here')}</Text>}
        </Stack>
      </form>
      <Stack gap="xs">
        <Text fw={600}>{t('codes')}</Text>
        <Text size="sm">{t('codes_why')}</Text>
        <Button
          variant="default"
          loading={busy === 'codes'}
          disabled={busy !== ''}
          onClick={() => void go('codes', async () => onCodes((await ask<Codes>(`${ENTER}/invitation/codes/begin`, { method: 'POST', body: { token } })).data))}
        >
          {t('codes_make')}
        </Button>
      </Stack>
    </Stack>
  );
}

function Shown({ codes, token, onProblem }: { codes: Codes; token: string; onProblem: (e: unknown) => void }) {
  const t = useWords(words);
  const enter = useIn();
  const [code, setCode] = useState('');
  const [busy, setBusy] = useState(false);
  return (
    <form
      onSubmit={async (e) => {
        e.preventDefault();
        setBusy(true);
        onProblem(null);
        try {
          enter((await ask<Session>(`${ENTER}/invitation/codes`, { method: 'POST', body: { token, id: codes.id, code } })).data);
        } catch (x) {
          onProblem(x);
          setBusy(false);
        }
      }}
    >
      <Stack gap="md">
        <Text>{t('once')}</Text>
        {/* For the password manager: it saves what a form has under these names. */}
        <input type="text" name="username" autoComplete="username" value={codes.name} readOnly hidden />
        <input type="password" name="password" autoComplete="new-password" value={codes.pass} readOnly hidden />
        <Stack gap={4}>
          <Text fw={600}>{t('pass')}</Text>
          <Group gap={4} wrap="nowrap">
            <Code fz="sm" data-pass style={{ overflowWrap: 'anywhere' }}>{codes.pass}</Code>
            <CopyButton text={codes.pass} />
          </Group>
          <Text size="sm" c="dimmed">{t('pass_keep')}</Text>
        </Stack>
        <Stack gap={4}>
          <Text fw={600}>{t('scan')}</Text>
          <Group gap="md" align="start">
            <img src={`data:image/svg+xml,${encodeURIComponent(codes.qr)}`} alt={t('qr_alt')} width={184} height={184} style={{ borderRadius: 6 }} />
            <Stack gap={4} style={{ flex: 1, minWidth: 180 }}>
              <Text size="sm">{t('or_type')}</Text>
              <Group gap={4} wrap="nowrap">
                <Code data-secret style={{ overflowWrap: 'anywhere' }}>{codes.secret}</Code>
                <CopyButton text={codes.secret} />
              </Group>
            </Stack>
          </Group>
        </Stack>
        <Group align="end" gap="sm">
          <TextInput label={t('code_now')} value={code} onChange={(e) => setCode(e.currentTarget.value.trim())} inputMode="numeric" autoComplete="one-time-code" maxLength={6} w={160} autoFocus />
          <Button type="submit" loading={busy} disabled={!/^\d{6}$/.test(code)}>
            {t('confirm')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
