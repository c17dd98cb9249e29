import { Button, Code, Group, Stack, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import { actSentence, gaveUp, sayYes, useDo, useSession } from '../../data';
import { Empty, Mark, Panel, Problem, State, When, useTick, type Tone } from '../../parts';
import { useWords } from '../../words/words';
import classes from './room.module.css';
import type { Room, Run, Step, StepResult } from './types';
import words from './words.json';

const tones: Record<string, Tone> = { pending: 'idle', skipped: 'idle', tried: 'idle', waits: 'wait', acting: 'wait', done: 'wait', good: 'good', failed: 'bad', undone: 'bad', let_go: 'good' };

/** Runbook is the stepper: what was done, what is checked now, what waits for whom. */
export function Runbook({ r, again, mayAct }: { r: Room; again: () => void; mayAct: boolean }) {
  const t = useWords(words);
  const planned = r.steps.contain.length + r.steps.repair.length > 0;
  return (
    <Panel title={t('runbook')}>
      {r.runs.length === 0 && !planned && <Empty title={t('no_run')}>{t('no_run_why')}</Empty>}
      {r.runs.length === 0 && planned && (
        <Stack gap="md">
          <Text size="sm" c="dimmed">{t('planned')}</Text>
          {(['contain', 'repair'] as const).map((p) => r.steps[p].length > 0 && (
            <div key={p}>
              <Text fw={600} mb={6}>{t(`phase_${p}`)}</Text>
              <ol className={classes.steps}>{r.steps[p].map((s) => <Planned key={s.id} s={s} />)}</ol>
            </div>
          ))}
        </Stack>
      )}
      <Stack gap="md">
        {r.runs.map((run) => <OneRun key={run.run} run={run} again={again} mayAct={mayAct} seen={r.seen_at} closed={!!r.closed_at} />)}
      </Stack>
    </Panel>
  );
}

/** What is still to come when the incident closes comes no more, and nobody looks on at
 * what was being checked. */
const over = (became: string, closed: boolean) => (closed && ['pending', 'waits', 'acting', 'done'].includes(became) ? 'over' : became);

function OneRun({ run, again, mayAct, seen, closed }: { run: Run; again: () => void; mayAct: boolean; seen?: string; closed: boolean }) {
  const t = useWords(words);
  const became = over(run.became, closed);
  return (
    <div>
      <Group justify="space-between" mb={6}>
        <Text fw={600}>{t(`phase_${run.request.phase}`)}{run.request.round ? ` ${run.request.round}` : ''} <Text span size="sm" c="dimmed">{t('by', { who: run.request.who })}</Text></Text>
        <State tone={tones[became] ?? 'idle'}>{t.maybe(`became_${became}`) ?? became}</State>
      </Group>
      <ol className={classes.steps}>
        {run.steps.map((s, i) => <One key={s.act.id || i} s={s} planned={run.request.steps[i]} again={again} mayAct={mayAct} seen={seen} closed={closed} />)}
      </ol>
    </div>
  );
}

function One({ s, planned, again, mayAct, seen, closed }: { s: StepResult; planned?: Step; again: () => void; mayAct: boolean; seen?: string; closed: boolean }) {
  const t = useWords(words);
  // A lever that was let go once it was over is no failure.
  const became = s.became === 'undone' && /^let go/.test(s.error ?? '') ? 'let_go' : over(s.became, closed);
  const tone = tones[became] ?? 'idle';
  const act = s.act.do || planned?.do || '';
  const aim = s.act.aim || s.act.with?.aim || planned?.aim || '';
  const rolled = became === 'undone';
  return (
    <li className={classes.step}>
      <span className={classes.stepMark}><Mark tone={tone} size={18} /></span>
      <Group gap={8} justify="space-between" align="baseline">
        <span className={classes.stepName}>{s.act.step || planned?.id} <Text span size="sm" c="dimmed">{[act, s.act.with?.lever, aim].filter(Boolean).join(' ')}</Text></span>
        <State tone={tone}>{t.maybe(`became_${became}`) ?? s.became}</State>
      </Group>
      {planned && <Text size="sm">{planned.why[t.lang]}</Text>}
      {(s.change.before || s.change.after) && <Text size="sm" c="dimmed" style={{ overflowWrap: 'anywhere' }}>{[s.change.before, s.change.after].filter(Boolean).join(' → ')}</Text>}
      {planned?.until && (became === 'done' || became === 'acting' || became === 'good') && (
        <Text size="sm" c="dimmed">
          {became === 'good' ? t('verified') : t('verifying', { within: planned.within || '30s' })} <Code>{planned.until}</Code>
          {became !== 'good' && seen && <> · {t('looked')} <When at={seen} stamp={false} /></>}
        </Text>
      )}
      {s.error && became !== 'good' && became !== 'let_go' && <Text size="sm" c={tone === 'bad' ? undefined : 'dimmed'} style={{ overflowWrap: 'anywhere' }}>{rolled && `${t('taken_back')} `}{s.error}</Text>}
      {s.at && <Text size="xs" c="dimmed"><When at={s.at} /></Text>}
      {became === 'waits' && <Approve s={s} again={again} mayAct={mayAct} />}
    </li>
  );
}

function Planned({ s }: { s: Step }) {
  const t = useWords(words);
  return (
    <li className={classes.step}>
      <span className={classes.stepMark}><Mark tone="idle" size={18} /></span>
      <span className={classes.stepName}>{s.id} <Text span size="sm" c="dimmed">{[s.do, s.with?.lever, s.aim].filter(Boolean).join(' ')}</Text></span>
      <Text size="sm">{s.why[t.lang]}</Text>
      {s.if && <Text size="sm" c="dimmed">{t('if')} <Code>{s.if}</Code></Text>}
      {s.until && <Text size="sm" c="dimmed">{t('until')} <Code>{s.until}</Code></Text>}
    </li>
  );
}

/** Approve takes what the person who is signed in says of exactly this act. */
function Approve({ s, again, mayAct }: { s: StepResult; again: () => void; mayAct: boolean }) {
  const t = useWords(words);
  const tick = useTick();
  const [reason, setReason] = useState('');
  const { session } = useSession();
  const [code, setCode] = useState('');
  const [gave, setGave] = useState<unknown>(null);
  const byCode = session?.method === 'totp';
  const say = useDo<unknown, { agreed: boolean; code?: string; assertion?: string }>((v) => ({ path: '/api/look/approvals', body: { act_id: s.act.id, hash: s.hash, reason, ...v } }), ['/api/look/incidents', '/api/look/repair']);
  const left = s.until ? Math.max(0, Math.round((new Date(s.until).getTime() - tick) / 1000)) : 0;
  const tell = async (agreed: boolean) => {
    setGave(null);
    try {
      const proof = session?.local ? {} : byCode ? { code } : { assertion: await sayYes(actSentence(s.act.id, s.hash ?? '', agreed)) };
      say.mutate({ agreed, ...proof }, { onSuccess: () => { setReason(''); setCode(''); again(); } });
    } catch (e) {
      setGave(gaveUp(e) ? new Error(t('no_passkey_used')) : e);
    }
  };
  return (
    <div className={classes.approve}>
      <Stack gap={8}>
        <Text size="sm" fw={600}>{t('needs', { n: s.needs ?? 1 })} <Text span size="sm" c="dimmed">{t('stands_for', { time: `${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')}` })}</Text></Text>
        <Text size="sm">{t('concerns', { n: s.change.items })}{s.change.value ? `, ${s.change.value}` : ''}. {s.error}</Text>
        {(s.act.approved ?? []).length > 0 && <Text size="sm">{t('agreed_by', { who: (s.act.approved ?? []).join(', ') })}</Text>}
        {say.error && <Problem of={say.error} />}
        {gave !== null && <Problem of={gave} />}
        {say.isSuccess && <Text size="sm" role="status">{t('said')}</Text>}
        {mayAct ? (
          <>
            <TextInput label={t('reason')} value={reason} onChange={(e) => setReason(e.currentTarget.value)} maxLength={300} />
            {byCode && <TextInput label={t('code_now')} value={code} onChange={(e) => setCode(e.currentTarget.value.trim())} inputMode="numeric" autoComplete="one-time-code" maxLength={6} w={160} />}
            <Group gap="xs">
              <Button onClick={() => void tell(true)} disabled={!reason.trim() || (byCode && !/^\d{6}$/.test(code))} loading={say.isPending}>{t('approve')}</Button>
              <Button variant="default" onClick={() => void tell(false)} disabled={!reason.trim() || (byCode && !/^\d{6}$/.test(code))} loading={say.isPending}>{t('refuse')}</Button>
            </Group>
          </>
        ) : (
          <Text size="sm" c="dimmed">{t('approver_only')}</Text>
        )}
      </Stack>
    </div>
  );
}
