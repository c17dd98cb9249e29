import { Button, Group, Stack, Text, TextInput } from '@mantine/core';
import { useEffect, useState } from 'react';
import { may, useDo, useLook, useSession } from '../../data';
import { Problem, Progress, Shown, State, Twin, useSpan, useTick, When, type Tone } from '../../parts';
import { useWords } from '../../words/words';
import { time } from './look';
import classes from './channels.module.css';
import words from './words.json';

type Finding = { capability: string; status: string; detail: string; took_ns: number };
type Run = {
  channel: string; endpoint: string; asset: string; amount: string; by: string; began: string; deadline: string; ended_at?: string;
  state: 'running' | 'cancelling' | 'cancelled' | 'holds' | 'lies' | 'failed'; why?: string; claims: string[]; findings: Finding[]; lies: string[]; kept: boolean; stopped_by?: string;
};
type Answer = { run: Run | null; busy: string };

/** Verify puts what a channel claims to the test, and shows what is seen as it is seen. */
export function Verify({ name, at }: { name: string; at: string }) {
  const t = useWords(words);
  const { session } = useSession();
  const path = `/channels/${encodeURIComponent(name)}/verify`;
  const [asset, setAsset] = useState('CZK');
  const [amount, setAmount] = useState('100');
  const [asked, setAsked] = useState(false);
  const last = useLook<Answer>(path, { every: asked ? 500 : 3000 });
  const run = last.data?.run ?? null;
  const goes = !!run && !run.ended_at;
  useEffect(() => setAsked(goes), [goes]);
  const begin = useDo<Answer>(() => ({ path: `/api/look${path}`, body: { asset: asset.trim(), amount: amount.trim() } }), ['/api/look/channels']);
  const end = useDo<Answer>(() => ({ path: `/api/look${path}`, method: 'DELETE' }), ['/api/look/channels']);
  const other = last.data && last.data.busy !== '' && last.data.busy !== name ? last.data.busy : '';
  const allowed = may(session, 'approver');
  return (
    <Stack gap="xs" mt={10} data-verify={run?.state ?? 'never'}>
      <Text size="sm">{t('verify', { at })}</Text>
      {allowed ? (
        !goes && (
          <form onSubmit={(e) => (e.preventDefault(), begin.mutate())}>
            <Group gap="xs" align="end">
              <TextInput size="xs" w={90} label={t('verify_asset')} value={asset} onChange={(e) => setAsset(e.currentTarget.value.toUpperCase())} maxLength={12} />
              <TextInput size="xs" w={150} label={t('verify_amount')} value={amount} onChange={(e) => setAmount(e.currentTarget.value)} inputMode="numeric" maxLength={7} />
              <Button size="xs" type="submit" loading={begin.isPending} disabled={other !== '' || !/^[0-9]+$/.test(amount.trim()) || asset.trim() === ''}>
                {t('verify_do')}
              </Button>
            </Group>
          </form>
        )
      ) : (
        <Text size="sm" className={classes.small}>{t('verify_role')}</Text>
      )}
      {other && <Text size="sm">{t('verify_busy', { name: other })}</Text>}
      {begin.error && <Problem of={begin.error} />}
      {end.error && <Problem of={end.error} />}
      <Shown of={last} rows={1} quiet>
        {() => run && <Course run={run} stop={allowed && goes ? () => end.mutate() : undefined} stopping={end.isPending} />}
      </Shown>
      <Twin cmd={`moneta channel test --channel ${name}${asset === 'CZK' ? '' : ` --asset ${asset}`}`} />
    </Stack>
  );
}

const tones: Record<Run['state'], Tone> = { running: 'wait', cancelling: 'wait', cancelled: 'idle', holds: 'good', lies: 'bad', failed: 'wait' };
const found: Record<string, Tone> = { proven: 'good', failed: 'bad' };

/** Course is a test as it goes, claim by claim, or the last one. */
function Course({ run, stop, stopping }: { run: Run; stop?: () => void; stopping: boolean }) {
  const t = useWords(words);
  const span = useSpan();
  const tick = useTick();
  const goes = !run.ended_at;
  const claim = (c: string) => t.maybe(`claim_${c}`) ?? c;
  const shown = run.findings.filter((f) => f.status === 'proven').length;
  const notShown = run.findings.filter((f) => f.status === 'not_shown').length;
  const said = run.state === 'holds' ? t('verify_counts', { shown, not: notShown }) : run.lies.map(claim).join(', ');
  return (
    <Stack gap={6}>
      <div role="status" aria-live="polite">
        <State tone={tones[run.state]}>{t(`verify_${run.state}`)}</State>{' '}
        {said && <Text span size="sm">{said} </Text>}
        <Text span size="sm" c="dimmed">
          {t('verify_by', { who: run.by })}
          {run.stopped_by && <>, {t('verify_stopped', { who: run.stopped_by })}</>}
          {run.ended_at && <>, {t('verify_ended')} <When at={run.ended_at} /></>}
        </Text>
      </div>
      {run.why && <Text size="sm">{run.state === 'failed' ? run.why : t('verify_unkept', { why: run.why })}</Text>}
      {goes && (
        <>
          <Progress done={run.findings.length} total={run.claims.length} label={t('verify_label')} />
          <Group justify="space-between">
            <Text size="sm" c="dimmed">{t('verify_left', { left: span('in', Math.max(0, (Date.parse(run.deadline) - tick) / 1000)) })}</Text>
            {stop && <Button size="compact-sm" variant="default" onClick={stop} loading={stopping || run.state === 'cancelling'}>{t('verify_stop')}</Button>}
          </Group>
        </>
      )}
      {!run.kept && run.findings.map((f) => (
        <Text size="sm" key={f.capability}>
          <State tone={found[f.status] ?? 'idle'}>{claim(f.capability)}</State> {t.maybe(`proof_${f.status}`) ?? f.status}
          {f.status !== 'not_claimed' && <Text span size="sm" c="dimmed">, {time(f.took_ns / 1e9)}</Text>}
          {f.detail && <span className={classes.small}>{f.detail.replace(/^not shown: /, '')}</span>}
        </Text>
      ))}
    </Stack>
  );
}
