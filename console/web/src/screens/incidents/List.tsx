import { Button, Group, NativeSelect, Stack, Text, TextInput } from '@mantine/core';
import { useEffect, useState } from 'react';
import { may, useDo, useLines, useLook, useNow, useParam, useSession } from '../../data';
import { Empty, Go, Panel, Problem, RangePick, Sentence, Shown, State, Title, Twin, When, useRange, useSpan, useTick } from '../../parts';
import { useWords } from '../../words/words';
import { StillToDo } from './FollowUps';
import { toneOf } from './Room';
import classes from './room.module.css';
import type { Focus, Row, Rows } from './types';
import words from './words.json';

export default function List() {
  const t = useWords(words);
  const now = useNow();
  const lines = useLines();
  const [which, setWhich] = useParam('state');
  const range = useRange();
  const rows = useLook<Rows>(`/incidents?lang=${t.lang}`, { every: 10_000, keep: true });
  const turned = lines.filter((l) => l.what === 'opened' || l.what === 'closed' || l.what === 'stage' || l.what === 'follow_up').at(-1)?.seq;
  useEffect(() => {
    if (turned !== undefined) rows.refetch();
  }, [turned]); // eslint-disable-line
  const open = rows.data?.incidents.filter((i) => !i.closed_at) ?? [];
  const focus = useLook<Focus>('/focus', { every: 3000, keep: true });
  const tickets = focus.data?.on ? 0 : (now?.alarms.length ?? 0);
  return (
    <>
      <Title right={<Twin cmd="moneta incident list" />}>{t('incidents')}</Title>
      {rows.data && (open[0] ? <Sentence tone={toneOf(open[0])}>{t('list_open', { n: open.length, cause: open[0].cause })}</Sentence> : <Sentence tone={tickets > 0 ? 'wait' : 'good'}>{tickets > 0 ? t('list_tickets', { n: tickets }) : t('list_calm', { n: rows.data.incidents.length })}</Sentence>)}
      <Stack gap="md">
        <FocusPanel />
        {rows.data && <StillToDo all={rows.data.follow_ups} out={rows.data.journal.left_out} />}
        <Panel
          title={t('all_incidents')}
          right={<Group gap="xs"><RangePick spans={['1h', '24h', '7d', '30d']} /><NativeSelect size="xs" aria-label={t('show')} value={which} onChange={(e) => setWhich(e.currentTarget.value)} data={[{ value: '', label: t('show_all') }, { value: 'open', label: t('show_open') }, { value: 'paged', label: t('show_paged') }]} /></Group>}
        >
          <Shown of={rows}>
            {(d) => {
              const of = d.incidents.filter((i) => (which === 'open' ? !i.closed_at : which === 'paged' ? i.paged : true));
              const shown = of.filter((i) => range.holds(i.since, i.closed_at ?? Date.now()));
              if (shown.length === 0) return <Empty title={t(of.length > 0 ? 'range_none' : 'none')} tone="good">{of.length > 0 ? undefined : t('none_why')}</Empty>;
              return (
                <>
                  {shown.map((i) => <One key={i.id} i={i} />)}
                  {d.more && <Text size="sm" c="dimmed" mt="xs">{t('older', { n: d.incidents.length })}</Text>}
                </>
              );
            }}
          </Shown>
        </Panel>
      </Stack>
    </>
  );
}

function One({ i }: { i: Row }) {
  const t = useWords(words);
  const span = useSpan();
  const tick = useTick();
  const until = i.closed_at ? new Date(i.closed_at).getTime() : tick;
  return (
    <Go to={`/incidents/${i.id}`} className={classes.rowLink}>
      <div className={classes.card}>
        <div>
          <State tone={i.closed_at ? (i.clean ? 'good' : 'wait') : toneOf(i)}>{i.closed_at ? (i.clean ? t('closed_clean') : t('closed_breaks', { n: i.breaks })) : t(`stage_${i.stage}`)}</State>
          <div className={classes.small}>{i.paged ? t('paged') : t('ticket')}</div>
        </div>
        <div>
          <Text fw={600} style={{ overflowWrap: 'anywhere' }}>{i.cause}</Text>
          <div className={classes.small}>
            {i.id}
            {i.money_most && ` · ${t('most', { n: i.money_most.items, time: span('for', i.money_most.oldest_s) })}`}
            {i.waits > 0 && ` · ${t('waits_n', { n: i.waits })}`}
          </div>
        </div>
        <div>
          <When at={i.since} age={false} />
          <div className={classes.small}>{i.closed_at ? t('took_time', { time: span('for', (until - new Date(i.since).getTime()) / 1000) }) : t('for_time', { time: span('for', (until - new Date(i.since).getTime()) / 1000) })}</div>
        </div>
      </div>
    </Go>
  );
}

/** FocusPanel is the switch that shows exceptions only, and the three signals that stay. */
function FocusPanel() {
  const t = useWords(words);
  const { session } = useSession();
  const focus = useLook<Focus>('/focus', { every: 3000, keep: true });
  const [reason, setReason] = useState('');
  const [asking, setAsking] = useState(false);
  const turn = useDo<Focus, boolean>((on) => ({ path: '/api/look/focus', ...(on ? { body: { reason, for_s: 3600 } } : { method: 'DELETE' as const }) }), ['/api/look/focus']);
  const done = () => { setAsking(false); setReason(''); };
  return (
    <Shown of={focus} rows={2}>
      {(f) => (
        <Panel
          title={f.on ? t('focus_on') : t('focus')}
          right={may(session, 'operator') && (f.on ? <Button size="compact-sm" variant="default" loading={turn.isPending} onClick={() => turn.mutate(false)}>{t('focus_off')}</Button> : !asking && <Button size="compact-sm" variant="default" onClick={() => setAsking(true)}>{t('focus_turn')}</Button>)}
        >
          <Stack gap="sm">
            {f.on && <Text size="sm">{t('focus_by', { who: f.on.by, why: f.on.reason })} {t('focus_until')} <When at={f.on.until} />. {f.tickets > 0 && t('focus_muted', { n: f.tickets })}</Text>}
            <div className={classes.signals}>
              {f.signals.map((s) => (
                <div key={s.key}>
                  <div className={classes.small}>{t(`signal_${s.key}`)}</div>
                  <div className={classes.big}>{s.known ? figure(s.value, s.unit) : t('not_told')}</div>
                  <div className={classes.small}>{s.known ? s.hop : t('not_health')}</div>
                </div>
              ))}
            </div>
            {asking && (
              <form onSubmit={(e) => { e.preventDefault(); turn.mutate(true, { onSuccess: done }); }}>
                <Group align="flex-end" gap="xs">
                  <TextInput label={t('focus_reason')} description={t('focus_what')} value={reason} onChange={(e) => setReason(e.currentTarget.value)} maxLength={300} style={{ flex: 1, minWidth: 220 }} autoFocus />
                  <Button type="submit" disabled={!reason.trim()} loading={turn.isPending}>{t('focus_hour')}</Button>
                  <Button variant="subtle" color="gray" onClick={done}>{t('cancel')}</Button>
                </Group>
              </form>
            )}
            {turn.error && <Problem of={turn.error} />}
          </Stack>
        </Panel>
      )}
    </Shown>
  );
}

function figure(v: number, unit?: string): string {
  if (unit === 'share') return v > 0 && v < 0.01 ? '<1 %' : `${Math.round(100 * v)} %`;
  if (unit === 's') return v >= 120 ? `${Math.round(v / 60)} min` : v >= 1 ? `${Math.round(v)} s` : `${Math.round(1000 * v)} ms`;
  return String(Math.round(v * 100) / 100);
}
