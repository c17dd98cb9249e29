import { Button, Group, Modal, Stack, Text, TextInput, Textarea } from '@mantine/core';
import { useState } from 'react';
import { decimal, may, minorOf, useDo, usePay, useSession } from '../../data';
import { AsCurl, Go, Money, Panel, Problem, Twin } from '../../parts';
import { Proposal, type Approval } from '../../parts/proposal';
import { useWords } from '../../words/words';
import classes from './payments.module.css';
import type { Page, Payment } from './types';
import words from './words.json';

/** takes is what two people may take from what remains of a payment. */
export function takes(p: Payment): 'refund' | 'capture' | undefined {
  if (!p.remaining || p.remaining === '0') return undefined;
  if ((p.kind === 'deposit' || p.kind === 'late_deposit') && p.state === 'succeeded') return 'refund';
  return p.kind === 'hold' && p.state === 'reserved' ? 'capture' : undefined;
}

type Side = { role: string; account?: string };
type Preview = { words: { en: string; zh: string }; movements: { debit: Side; credit: Side; amount: string; asset: string }[] };

/** Take asks for a refund or a capture, in part or whole: first what it would post, then the
 * proposal, which somebody else approves. */
export function Take({ kind, p, can, why, onClose }: { kind: 'refund' | 'capture'; p: Payment; can: boolean; why?: string; onClose: () => void }) {
  const t = useWords(words);
  const [amount, setAmount] = useState(decimal(p.remaining ?? p.amount, p.asset));
  const [reason, setReason] = useState('');
  const minor = minorOf(amount, p.asset);
  const ok = minor !== undefined && BigInt(minor) > 0n && BigInt(minor) <= BigInt(p.remaining ?? '0');
  // What a capture sends out names its payee, so that whoever approves it reads who gets it.
  const payee = kind === 'capture' ? p.payee?.account : undefined;
  const body = { kind, parameters: { payment: p.id, asset: p.asset, amount: minor ?? '', ...(payee ? { payee } : {}) } };
  const look = useDo<Preview>(() => ({ path: '/api/pay/v1/approvals/preview', body }), []);
  const propose = useDo<Approval>(() => ({ path: '/api/pay/v1/approvals', body: { ...body, reason: reason.trim() } }), ['/api/pay/v1/approvals']);
  const [seen, setSeen] = useState('');
  const preview = seen === minor ? look.data : undefined;
  const done = propose.data;
  return (
    <Modal opened onClose={onClose} title={t(`act_${kind}`)} centered closeButtonProps={{ 'aria-label': t('close') }}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          if (preview) propose.mutate();
          else look.mutate(undefined, { onSuccess: () => setSeen(minor ?? '') });
        }}
      >
        <Stack gap="sm">
          <Text>{t(`act_${kind}_says`)}</Text>
          {!done && (
            <>
              <TextInput label={`${t('amount')} (${p.asset})`} description={t('take_most', { most: decimal(p.remaining ?? p.amount, p.asset) })} value={amount} inputMode="decimal" error={!ok && amount !== '' ? t('take_amount') : undefined} onChange={(e) => setAmount(e.currentTarget.value)} />
              <Textarea label={t('take_reason')} value={reason} maxLength={500} autosize minRows={2} onChange={(e) => setReason(e.currentTarget.value)} />
            </>
          )}
          {why && <Text size="sm" className={classes.again}>{why}</Text>}
          {look.error && <Problem of={look.error} />}
          {propose.error && <Problem of={propose.error} />}
          {preview && !done && (
            <div role="status" aria-label={t('take_preview')}>
              <Text fw={600}>{preview.words[t.lang]}</Text>
              {preview.movements.map((m, i) => (
                <Text size="sm" key={i}><Money amount={m.amount} asset={m.asset} />: {side(t, m.debit)} → {side(t, m.credit)}</Text>
              ))}
              <Text size="sm" c="dimmed">{t('take_no_promise')}</Text>
            </div>
          )}
          {done && <Text fw={600} role="status">{t('take_proposed')} <Go to={`/approvals?id=${done.id}`}>{t('to_approvals')}</Go></Text>}
          <Twin cmd={`moneta approve propose ${kind} --set payment=${p.id} --set asset=${p.asset} --set amount=${minor ?? 'N'}${payee ? ` --set payee='${payee}'` : ''} --reason … --dry-run`} />
          <Group justify="space-between" gap="xs">
            <AsCurl call={{ method: 'POST', path: '/v1/approvals', body: { ...body, reason } }} />
            <Group gap="xs">
              <Button variant="default" onClick={onClose}>{t(done ? 'close' : 'keep')}</Button>
              {!done && <Button type="submit" disabled={!can || !ok || !reason.trim()} loading={look.isPending || propose.isPending}>{t(preview ? 'take_propose' : 'take_look')}</Button>}
            </Group>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

const side = (t: ReturnType<typeof useWords<typeof words>>, s: Side) => `${t.maybe(`role_${s.role}`) ?? s.role}${s.account ? ` (${s.account})` : ''}`;

/** Proposals are what people ask for about the payment, and how far it has come. */
export function Proposals({ p }: { p: Payment }) {
  const t = useWords(words);
  const { session } = useSession();
  const all = usePay<Page<Approval>>('/v1/approvals?limit=100', { every: 4_000 });
  const of = (all.data?.data ?? []).filter((a) => a.parameters.payment === p.id);
  if (of.length === 0) return null;
  return (
    <Panel title={t('proposals')}>
      {of.map((a) => <Proposal key={a.id} a={a} able={!!session && !session.local && may(session, 'operator')} />)}
    </Panel>
  );
}
