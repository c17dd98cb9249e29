// A proposal on its way to being carried out, wherever it shows.
import { Button, Stack, Stepper, Text } from '@mantine/core';
import { useDo, useSession } from '../data';
import { useWords } from '../words/words';
import { Go, Id, State, When } from './small';
import { Problem } from './states';

export type Approval = {
  id: string;
  kind: string;
  parameters: Record<string, string>;
  reason: string;
  maker: string;
  checker?: string;
  hash: string;
  words: { en: string; zh: string };
  state: 'proposed' | 'approved' | 'used' | 'rejected' | 'expired' | 'withdrawn';
  made_at: string;
  checked_at?: string;
  used_at?: string;
  finished_at?: string;
  expires_at: string;
  outcome?: string;
  result?: string;
};

const steps = ['proposed', 'approved', 'used', 'done'] as const;

/** Proposal is one proposal on its way: who, what step, what came of it. */
export function Proposal({ a, able }: { a: Approval; able: boolean }) {
  const t = useWords();
  const { session } = useSession();
  const run = useDo(() => ({ path: `/api/pay/v1/approvals/${a.id}/execute`, body: { hash: a.hash } }));
  const payment = /pay_[0-9A-Z]+/.exec(a.result ?? '')?.[0];
  const over = a.state === 'rejected' || a.state === 'expired' || a.state === 'withdrawn' || a.outcome === 'refused';
  const at = a.outcome === 'done' ? 4 : a.state === 'used' ? 3 : a.state === 'approved' ? 2 : 1;
  return (
    <Stack gap="xs" mb="md" data-testid="proposal">
      <Text fw={600}>{a.words[t.lang]}</Text>
      {over ? (
        <State tone="wait">{t.maybe(`approval_${a.outcome === 'refused' ? 'refused' : a.state}`)}{a.result ? `: ${a.result}` : ''}</State>
      ) : (
        <Stepper active={at} size="xs" aria-label={t('progress')}>
          {steps.map((s, i) => (
            <Stepper.Step key={s} label={t(`step_${s}`)} description={i === 0 ? a.maker : i === 1 ? (a.checker ?? t('needs_another')) : undefined} />
          ))}
        </Stepper>
      )}
      <Text size="sm" c="dimmed">
        {a.reason} · <Id id={a.id} /> · {a.state === 'proposed' && <>{t('expires')} <When at={a.expires_at} /></>}
        {payment && <> · <Id id={payment} /></>}
      </Text>
      {a.state === 'proposed' && <Text size="sm">{session?.name === a.maker ? t('other_approves') : <>{t('you_approve')} <Go to={`/approvals?id=${a.id}`}>{t('to_approvals')}</Go></>}</Text>}
      {a.state === 'approved' && able && <Button size="xs" loading={run.isPending} onClick={() => run.mutate()} style={{ alignSelf: 'start' }}>{t('carry_out')}</Button>}
      {run.error && <Problem of={run.error} />}
    </Stack>
  );
}
