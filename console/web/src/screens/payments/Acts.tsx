import { Button, Group, Modal, Stack, Text, Textarea } from '@mantine/core';
import { useState } from 'react';
import { freshKey, may, useDo, useSession, type AskOptions } from '../../data';
import { AsCurl, CopyButton, Problem, type Call } from '../../parts';
import { IconLink } from '../../parts/icons';
import { useWords } from '../../words/words';
import classes from './payments.module.css';
import { Take, takes } from './Take';
import type { Payment, Trail, View } from './types';
import words from './words.json';

type Act = 'cancel' | 'query' | 'appeal' | 'link';

/** Acts are what a person may do about the payment: each says what comes of it first. */
export function Acts({ p, v, trail }: { p: Payment; v: View; trail: Trail }) {
  const t = useWords(words);
  const { session } = useSession();
  const [open, setOpen] = useState<Act | null>(null);
  const asks = trail.next?.what === 'ask' && !!p.channel;
  const money = takes(p);
  const [moving, setMoving] = useState(false);
  const can = !!session && !session.local && may(session, 'operator');
  const why = session?.local ? t('acts_local') : !can ? t('acts_viewer') : undefined;
  const acts: [Act, boolean][] = [
    ['link', true],
    ['appeal', true],
    ['query', asks],
    ['cancel', v.status.can_cancel],
  ];
  return (
    <div className={classes.acts} role="group" aria-label={t('acts')}>
      {acts
        .filter(([, there]) => there)
        .map(([act]) => (
          <Button key={act} size="compact-md" variant={act === 'link' ? 'filled' : 'default'} leftSection={act === 'link' ? <IconLink width={14} height={14} /> : undefined} onClick={() => setOpen(act)}>
            {t(`act_${act}`)}
          </Button>
        ))}
      {money && <Button size="compact-md" variant="default" onClick={() => setMoving(true)}>{t(`act_${money}`)}</Button>}
      {money && moving && <Take kind={money} p={p} can={can} why={why} onClose={() => setMoving(false)} />}
      {open && <Dialog key={open} act={open} p={p} can={can} why={why} onClose={() => setOpen(null)} />}
    </div>
  );
}

function callOf(act: Act, p: Payment, text: string, key: string): Call & { body?: unknown } {
  switch (act) {
    case 'cancel':
      return { method: 'POST', path: `/v1/payments/${p.id}/cancel` };
    case 'query':
      return { method: 'POST', path: '/v1/backlog', body: { act: 'query-unknowns', payments: [p.id] } };
    case 'appeal':
      return { method: 'POST', path: `/v1/payments/${p.id}/appeal`, key, body: text.trim() ? { text: text.trim() } : {} };
    case 'link':
      return { method: 'POST', path: `/v1/payments/${p.id}/link`, body: { days: 30 } };
  }
}

type Out = { number?: string; owner?: string; path?: string; url?: string; items?: number; left?: { why: string }[]; state?: string };

function Dialog({ act, p, can, why, onClose }: { act: Act; p: Payment; can: boolean; why?: string; onClose: () => void }) {
  const t = useWords(words);
  const [text, setText] = useState('');
  const [key] = useState(freshKey);
  const call = callOf(act, p, text, key);
  const run = useDo<Out>(() => {
    const o: { path: string } & AskOptions = { path: `/api/pay${call.path}`, method: 'POST', body: call.body };
    if (call.key) o.headers = { 'Idempotency-Key': call.key };
    return o;
  }, [`/api/pay/v1/payments/${p.id}`]);
  const done = run.data;
  const link = done?.url ?? (done?.path ? location.origin + done.path : undefined);
  return (
    <Modal opened onClose={onClose} title={t(`act_${act}`)} centered closeButtonProps={{ 'aria-label': t('close') }}>
      <Stack gap="sm">
        <Text>{t(`act_${act}_says`)}</Text>
        {act === 'appeal' && !done && <Textarea label={t('appeal_text')} value={text} onChange={(e) => setText(e.currentTarget.value)} maxLength={2000} autosize minRows={2} />}
        {why && <Text size="sm" className={classes.again}>{why}</Text>}
        {run.error && <Problem of={run.error} />}
        {done && (
          <div role="status">
            {act === 'link' && link && (
              <Group gap="xs" wrap="nowrap">
                <a href={link} target="_blank" rel="noreferrer" className={classes.linkText}>{link}</a>
                <CopyButton text={link} label={t('copy_link')} />
              </Group>
            )}
            {act === 'appeal' && <Text fw={600}>{t('appealed', { number: done.number ?? '', owner: done.owner ?? '' })}</Text>}
            {act === 'query' && <Text fw={600}>{done.items ? t('queried') : t('not_queried', { why: t.maybe(`left_${done.left?.[0]?.why}`) ?? done.left?.[0]?.why ?? '' })}</Text>}
            {act === 'cancel' && <Text fw={600}>{t('cancelled_now', { state: t.maybe(`state_${done.state}`) ?? done.state ?? '' })}</Text>}
          </div>
        )}
        <Group justify="space-between" gap="xs">
          <AsCurl call={call} />
          <Group gap="xs">
            <Button variant="default" onClick={onClose}>{t(done ? 'close' : 'keep')}</Button>
            {!done && (
              <Button disabled={!can} loading={run.isPending} onClick={() => run.mutate()}>
                {t(`act_${act}_do`)}
              </Button>
            )}
          </Group>
        </Group>
      </Stack>
    </Modal>
  );
}
