import { Button, Group, Stack, Text, TextInput } from '@mantine/core';
import { useState, type ReactNode } from 'react';
import { freshKey, useDo, useParam } from '../../data';
import { Panel, Plain, Problem, Twin, When } from '../../parts';
import { useWords } from '../../words/words';
import { Once } from './Once';
import type { Hook } from './Webhooks';
import words from './words.json';

const forms = ['recover', 'stop', 'change', 'rotate', 'delete'] as const;
type Form = (typeof forms)[number];

/** Endpoint is what can be done about one endpoint: one form at a time, each with the
 * command that does the same. */
export function Endpoint({ h, acts, chief, onGone }: { h: Hook; acts: boolean; chief: boolean; onGone: () => void }) {
  const t = useWords(words);
  const [asked, setForm] = useParam('act');
  const offered = forms.filter((f) => (f === 'recover' || f === 'stop' ? acts && h.state === 'active' : chief));
  const form: Form | undefined = offered.find((f) => f === asked);
  const close = () => setForm('');
  if (offered.length === 0) return null;
  return (
    <Panel title={h.url}>
      <Stack gap="sm">
        {h.catching_up && <Text size="sm">{t('behind')}</Text>}
        {h.old_secret_until && <Text size="sm">{t('old_secret')} <When at={h.old_secret_until} /></Text>}
        <Group gap="xs">
          {offered.map((f) => (
            <Button key={f} size="compact-sm" variant={f === form ? 'filled' : 'default'} aria-expanded={f === form} onClick={() => setForm(f === form ? '' : f)}>{t(`act_${f}`)}</Button>
          ))}
        </Group>
        {form === 'recover' && <Recover h={h} onClose={close} />}
        {form === 'stop' && <Stop h={h} onClose={close} />}
        {form === 'change' && <Change h={h} onClose={close} />}
        {form === 'rotate' && <Rotate h={h} onClose={close} />}
        {form === 'delete' && <Delete h={h} onClose={close} onGone={onGone} />}
      </Stack>
    </Panel>
  );
}

/** useAct changes the endpoint; the key belongs to the open form, so that a second click is
 * the same. */
function useAct(h: Hook, path: string, body?: unknown, method: 'POST' | 'DELETE' = 'POST') {
  const [key] = useState(freshKey);
  return useDo<Hook>(() => ({ path: `/api/pay/v1/webhooks/${h.id}${path}`, method, body, headers: { 'Idempotency-Key': key } }), ['/api/pay/v1/webhooks']);
}

function Form({ act, ready, says, cmd, danger, onDone, onClose, children, how }: {
  act: ReturnType<typeof useAct>; ready: boolean; says: string; cmd: string; danger?: boolean; onDone?: () => void; onClose: () => void; children?: ReactNode; how: string;
}) {
  const t = useWords(words);
  return (
    <form onSubmit={(e) => { e.preventDefault(); if (ready) act.mutate(undefined, { onSuccess: onDone }); }}>
      <Stack gap="sm">
        <Text size="sm">{how}</Text>
        {act.error && <Problem of={act.error} />}
        {children}
        <Group gap="sm">
          <Button type="submit" color={danger ? 'red' : undefined} loading={act.isPending} disabled={!ready}>{says}</Button>
          <Plain onClick={onClose}>{t('no')}</Plain>
          <Twin cmd={cmd} />
        </Group>
      </Stack>
    </form>
  );
}

const hours = [1, 6, 24, 72, 168, 29 * 24];

function Recover({ h, onClose }: { h: Hook; onClose: () => void }) {
  const t = useWords(words);
  // What datetime-local shows is the person's own time.
  const local = (ago: number) => { const at = new Date(Date.now() - ago * 3_600_000); return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16); };
  const [since, setSince] = useState(() => local(6));
  const at = new Date(since);
  const ok = !Number.isNaN(at.getTime());
  const iso = ok ? at.toISOString().replace('.000', '') : '';
  const act = useAct(h, '/recover', { since: iso });
  return (
    <Form act={act} ready={ok} says={t('recover_do')} how={t('recover_how')} cmd={`moneta webhook recover ${h.id} --since ${iso}`} onDone={onClose} onClose={onClose}>
      <Group gap="xs" align="end">
        <TextInput type="datetime-local" label={t('recover_since')} value={since} onChange={(e) => setSince(e.currentTarget.value)} />
        {hours.map((n) => <Button key={n} size="compact-sm" variant="default" onClick={() => setSince(local(n))}>{t(n < 48 ? 'hours' : 'days', { n: n < 48 ? n : n / 24 })}</Button>)}
      </Group>
    </Form>
  );
}

function Stop({ h, onClose }: { h: Hook; onClose: () => void }) {
  const t = useWords(words);
  const [reason, setReason] = useState('');
  const act = useAct(h, '/disable', { reason });
  return (
    <Form act={act} ready={reason.trim() !== ''} says={t('stop_do')} how={t('stop_how')} cmd={`moneta webhook disable ${h.id} --reason "…"`} onDone={onClose} onClose={onClose}>
      <TextInput label={t('reason')} value={reason} onChange={(e) => setReason(e.currentTarget.value)} maxLength={100} maw={420} />
    </Form>
  );
}

function Change({ h, onClose }: { h: Hook; onClose: () => void }) {
  const t = useWords(words);
  const [url, setUrl] = useState(h.url);
  const [description, setDescription] = useState(h.description);
  const body = { ...(url.trim() !== h.url && { url: url.trim() }), ...(description !== h.description && { description }) };
  const act = useAct(h, '', body);
  return (
    <Form act={act} ready={url.trim() !== '' && Object.keys(body).length > 0} says={t('change_do')} how={t('change_how')} cmd={`moneta webhook change ${h.id} --to ${url.trim()}`} onDone={onClose} onClose={onClose}>
      <Group gap="sm">
        <TextInput label={t('endpoint_url')} type="url" value={url} onChange={(e) => setUrl(e.currentTarget.value)} maxLength={2048} style={{ flex: '2 1 260px' }} />
        <TextInput label={t('endpoint_for')} value={description} onChange={(e) => setDescription(e.currentTarget.value)} maxLength={200} style={{ flex: '1 1 180px' }} />
      </Group>
    </Form>
  );
}

function Rotate({ h, onClose }: { h: Hook; onClose: () => void }) {
  const t = useWords(words);
  const act = useAct(h, '/rotate-secret');
  if (act.data?.secret) return <><Once secret={act.data.secret}>{t('rotated')}</Once><div><Plain onClick={onClose}>{t('done')}</Plain></div></>;
  return <Form act={act} ready says={t('rotate_do')} how={t('rotate_how')} cmd={`moneta webhook rotate ${h.id}`} onClose={onClose} />;
}

function Delete({ h, onClose, onGone }: { h: Hook; onClose: () => void; onGone: () => void }) {
  const t = useWords(words);
  const act = useAct(h, '', undefined, 'DELETE');
  return <Form act={act} ready danger says={t('delete_do')} how={t('delete_how')} cmd={`moneta webhook delete ${h.id}`} onDone={onGone} onClose={onClose} />;
}
