import { Button, Group, Stack, Text } from '@mantine/core';
import { useRef, useState } from 'react';
import { usePay } from '../../data';
import { Go, Id, Panel, Shown, State, Twin, When } from '../../parts';
import { useWords } from '../../words/words';
import classes from './payments.module.css';
import { cameBack, major, proven, tokenOf, verify, type JWK, type Receipt, type Verdict } from './receipts';
import type { Page } from './types';
import words from './words.json';

/** Receipts are what the record says of the payment, signed; each is verified here, in
 * the browser, and so is a file that somebody sent. */
export function Receipts({ id }: { id: string }) {
  const t = useWords(words);
  const list = usePay<Page<Receipt>>(`/v1/payments/${id}/receipts?limit=100`, { every: 10_000 });
  const keys = usePay<{ keys: JWK[] }>('/v1/receipt-keys', { every: 60_000 });
  const gone = list.age !== null || (list.problem !== null && (list.problem.status === 0 || list.problem.status >= 500));
  return (
    <Panel title={t('receipts')} right={<Twin cmd={`moneta receipt show ${id}`} />}>
      <Text size="sm" c="dimmed" mb="xs">{t('receipts_what')}</Text>
      {gone && <Text size="sm" mb="xs">{t('receipts_gone')}</Text>}
      <Shown of={list} rows={2}>
        {(d) => (
          <ol className={classes.moves}>
            {d.data.map((r) => <One key={r.id} r={r} keys={keys.data?.keys} />)}
          </ol>
        )}
      </Shown>
      <Sent id={id} keys={keys.data?.keys} />
    </Panel>
  );
}

function One({ r, keys }: { r: Receipt; keys?: JWK[] }) {
  const t = useWords(words);
  const [verdict, setVerdict] = useState<Verdict | null>(null);
  const save = () => {
    const url = URL.createObjectURL(new Blob([r.jws], { type: 'application/jose' }));
    const a = document.createElement('a');
    a.href = url;
    a.download = `receipt-${r.payment}-${r.id}.jws`;
    a.click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };
  return (
    <li>
      <When at={r.recorded_at} age={false} />
      <Stack gap={4}>
        <Group gap="xs">
          <State tone={r.status === 'succeeded' ? 'good' : r.final ? 'idle' : 'info'}>{t.maybe(`state_${r.state}`) ?? r.state}</State>
          {r.disposition && <State tone="wait">{t.maybe(`back_${r.disposition}`) ?? r.disposition}</State>}
          <Text size="xs" c="dimmed">{t(r.newest ? 'receipt_newest' : 'receipt_older')} <Id id={r.id} link={false} /></Text>
          <Button size="compact-xs" variant="default" disabled={!keys} onClick={() => void verify(r.jws, keys ?? []).then(setVerdict)}>{t('receipt_verify')}</Button>
          <Button size="compact-xs" variant="default" onClick={save}>{t('receipt_save')}</Button>
        </Group>
        {verdict && <Told of={verdict} />}
      </Stack>
    </li>
  );
}

/** Sent takes a receipt that somebody sent, and says whether it is ours and about this. */
function Sent({ id, keys }: { id: string; keys?: JWK[] }) {
  const t = useWords(words);
  const pick = useRef<HTMLInputElement>(null);
  const [verdict, setVerdict] = useState<Verdict | null>(null);
  const read = async (f?: File) => {
    if (f) setVerdict(await verify(tokenOf(await f.slice(0, 64 << 10).text()), keys ?? []));
  };
  const of = verdict?.document?.payment;
  return (
    <Stack gap={6} mt="sm">
      <input ref={pick} type="file" hidden aria-label={t('receipt_check')} onChange={(e) => void read(e.currentTarget.files?.[0])} />
      <Group gap="xs">
        <Button size="compact-sm" variant="default" disabled={!keys} onClick={() => pick.current?.click()}>{t('receipt_check')}</Button>
        <Text size="xs" c="dimmed">{t('receipt_check_why')}</Text>
      </Group>
      {verdict && <Told of={verdict} />}
      {of && of !== id && <Text size="sm" role="status"><State tone="wait">{t('receipt_other')}</State> <Go to={`/payments/${of}`}>{of}</Go></Text>}
    </Stack>
  );
}

function Told({ of }: { of: Verdict }) {
  const t = useWords(words);
  const d = of.document;
  if (!d)
    return (
      <Text size="sm" role="status" component="div">
        <State tone={of.refusal === 'unable' || of.refusal === 'newer' ? 'wait' : 'bad'}>{t(of.refusal === 'unable' ? 'receipt_unable' : of.refusal === 'newer' ? 'receipt_unread' : 'receipt_false')}</State> {t(`receipt_no_${of.refusal}`)}
      </Text>
    );
  const what = proven(d);
  return (
    <Text size="sm" role="status" component="div">
      <State tone="good">{t('receipt_genuine')}</State> {t('receipt_says', { kind: t.maybe(`kind_${d.kind}`) ?? d.kind, amount: major(d.amount, d), payment: d.payment, reference: d.reference, at: d.recorded_at })}{' '}
      {d.payee && `${t('receipt_payee', { end: d.payee.ends_with })} `}
      <strong>{t.maybe(`proves_${what}`, { back: cameBack(d) }) ?? what}</strong> {t('receipt_limit', { event: d.rests_on.event })}
    </Text>
  );
}
