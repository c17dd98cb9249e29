import { Button, Group, Menu, Stack, Text } from '@mantine/core';
import { useEffect } from 'react';
import { may, useLines, useLook, usePathParam, useSession } from '../../data';
import { Chart, Empty, Go, Money, Panel, Sentence, Shown, State, Title, Twin, When, useSpan, useTick } from '../../parts';
import { useWords } from '../../words/words';
import { Causes } from './Causes';
import { FollowUps } from './FollowUps';
import { ImpactPanel } from './Impact';
import { Containment } from './Levers';
import { ProofPanel } from './Proof';
import classes from './room.module.css';
import { Runbook } from './Runbook';
import { ScopePicture } from './Scope';
import { Timeline } from './Timeline';
import type { AtRisk, Room as RoomOf } from './types';
import words from './words.json';

/** Room is where people stand while something is wrong: one incident, and everything
 * about it. */
export default function Room() {
  const t = useWords(words);
  const id = usePathParam('id');
  const lines = useLines();
  const room = useLook<RoomOf>(`/incidents/${encodeURIComponent(id)}?lang=${t.lang}`, { every: 4000, keep: true });
  const newest = lines.filter((l) => l.incident === id).at(-1)?.seq;
  const { refetch } = room;
  useEffect(() => {
    if (newest !== undefined) refetch();
  }, [newest]); // eslint-disable-line
  if (room.problem?.status === 404 && !room.data) {
    return (
      <>
        <Title>{id}</Title>
        <Empty title={t('no_incident', { id })} action={<Go to="/incidents">{t('all_incidents')}</Go>}>
          {t('no_incident_why')}
        </Empty>
      </>
    );
  }
  if (!room.data) return <><Title>{id}</Title><Shown of={room} rows={10}>{() => null}</Shown></>;
  return <Shown of={room}>{(r) => <Inside r={r} again={refetch} />}</Shown>;
}

export function toneOf(r: Pick<RoomOf, 'closed_at' | 'paged' | 'stage'> & { clean?: boolean }) {
  if (r.closed_at) return 'good' as const;
  return r.paged && (r.stage === 'detected' || r.stage === 'diagnosed') ? ('bad' as const) : ('wait' as const);
}

function Inside({ r, again }: { r: RoomOf; again: () => void }) {
  const t = useWords(words);
  const { session } = useSession();
  return (
    <>
      <Title right={<><Twin cmd={`moneta incident show ${r.id}`} /><Papers id={r.id} /></>}>
        <Text span c="dimmed" fw={500}><Go to="/incidents">{t('incidents')}</Go> / </Text>{r.id}
      </Title>
      <Sentence tone={toneOf(r)}>{r.sentence}</Sentence>
      <Facts r={r} />
      <Rail r={r} />
      <div className={classes.columns}>
        <div className={classes.column}>
          <Causes r={r} />
          <Runbook r={r} again={again} mayAct={may(session, 'operator')} />
          {r.answer && <ScopePicture a={r.answer} />}
          <OverTime r={r} />
        </div>
        <div className={classes.column}>
          <Containment incident={r.id} suspect={r.answer?.ranked[0]?.node} open={!r.closed_at} mayAct={may(session, 'operator')} />
          {!r.closed_at && <ImpactPanel />}
          <ProofPanel r={r} />
          <Timeline r={r} again={again} mayAct={may(session, 'operator')} />
        </div>
      </div>
      <Guide r={r} />
      <Todo r={r} again={again} mayAct={may(session, 'operator')} />
    </>
  );
}

/** Facts are the four things that are asked first. */
function Facts({ r }: { r: RoomOf }) {
  const t = useWords(words);
  const span = useSpan();
  const tick = useTick();
  const until = r.closed_at ? new Date(r.closed_at).getTime() : tick;
  const m = r.closed_at ? r.money_most : r.money;
  return (
    <div className={classes.facts}>
      <Fact name={r.closed_at ? t('took') : t('age')} more={<When at={r.since} age={false} />}>
        {span('for', (until - new Date(r.since).getTime()) / 1000)}
      </Fact>
      <Fact name={r.closed_at ? t('waited_most') : t('waiting_now')} more={m && m.oldest_s > 0 ? t('oldest', { time: span('for', m.oldest_s) }) : undefined}>
        {m ? t('payments_n', { n: m.items }) : t('not_counted')}
      </Fact>
      <Fact name={t('uncertain')} more={t('uncertain_why')}>
        <Worth m={m} />
      </Fact>
      <Fact name={t('proof')} more={r.proved?.rows ? t('rows_n', { n: r.proved.rows.toLocaleString('en-US').replace(/,/g, ' ') }) : undefined}>
        {r.proof ? r.proof.clean ? <State tone="good">{t('proof_clean')}</State> : <State tone="bad">{t('proof_off')}</State> : <State tone="idle">{t('proof_none')}</State>}
      </Fact>
    </div>
  );
}

function Fact({ name, more, children }: { name: string; more?: React.ReactNode; children: React.ReactNode }) {
  return (
    <div className={classes.fact}>
      <div className={classes.factName}>{name}</div>
      <div className={classes.factValue}>{children}</div>
      {more && <div className={classes.factMore}>{more}</div>}
    </div>
  );
}

export function Worth({ m }: { m?: AtRisk }) {
  const t = useWords(words);
  const all = Object.entries(m?.value ?? {}).filter(([, v]) => v !== '0');
  if (all.length === 0) return <>{t('nothing')}</>;
  return <>{all.map(([asset, amount]) => <div key={asset}><Money amount={amount} asset={asset} /></div>)}</>;
}

/** Rail is the closed loop, with when each part of it was reached. */
function Rail({ r }: { r: RoomOf }) {
  const t = useWords(words);
  const span = useSpan();
  return (
    <ol className={classes.rail} aria-label={t('stages')}>
      {r.stages.map((s) => (
        <li key={s.stage} data-done={s.at ? '' : undefined}>
          <div className={classes.railWord}>{t.maybe(`loop_${s.loop}`) ?? s.word}</div>
          <div className={classes.railWhen}>{s.at ? `${s.word} · ${t('after', { time: span('for', s.after_s ?? 0) })}` : t('not_yet')}</div>
        </li>
      ))}
    </ol>
  );
}

const kinds = ['post-mortem', 'brief', 'checklist', 'hotfix', 'runbook'] as const;

function Papers({ id }: { id: string }) {
  const t = useWords(words);
  const path = (kind: string, more = '') => `/api/look/incidents/${encodeURIComponent(id)}/export/${kind}?lang=${t.lang}${more}`;
  return (
    <Menu position="bottom-end" withinPortal width={320}>
      <Menu.Target>
        <Button size="compact-sm" variant="default">{t('papers')}</Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{t('papers_read')}</Menu.Label>
        {kinds.map((k) => (
          <Menu.Item key={k} component="a" href={path(k, '&format=html')} target="_blank" rel="noreferrer">{t(`paper_${k}`)}</Menu.Item>
        ))}
        <Menu.Label>{t('papers_keep')}</Menu.Label>
        {kinds.map((k) => (
          <Menu.Item key={k} component="a" href={path(k)} download>{t(`paper_${k}`)} (.md)</Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

function OverTime({ r }: { r: RoomOf }) {
  const t = useWords(words);
  const points = r.money_over;
  if (points.length < 3) return null;
  return (
    <Panel title={t('over_time')}>
      <Chart
        label={t('over_time_label', { most: r.money_most?.items ?? 0 })}
        times={points.map((p) => new Date(p.at).getTime() / 1000)}
        series={[{ name: t('chart_items'), values: points.map((p) => p.items) }, { name: t('chart_oldest'), values: points.map((p) => Math.round(p.oldest_s)) }]}
      />
    </Panel>
  );
}

/** Guide is the eight steps of an investigation with what is known of each. */
function Guide({ r }: { r: RoomOf }) {
  const t = useWords(words);
  const left = r.guide.filter((g) => !g.known).length;
  return (
    <div style={{ marginTop: 'var(--mantine-spacing-md)' }}>
      <Panel title={t('guide')} right={<Text size="sm" c="dimmed">{left === 0 ? t('guide_done') : t('guide_left', { n: left })}</Text>}>
        <ol className={classes.guide}>
          {r.guide.map((g) => (
            <li key={g.step} data-known={g.known ? '' : undefined}>
              <Text size="sm" fw={600}>{g.step}</Text>
              <Text size="sm" c={g.known ? undefined : 'dimmed'} style={{ overflowWrap: 'anywhere' }}>{g.answer}</Text>
            </li>
          ))}
        </ol>
      </Panel>
    </div>
  );
}

function Todo({ r, again, mayAct }: { r: RoomOf; again: () => void; mayAct: boolean }) {
  const t = useWords(words);
  return (
    <Stack gap="md" mt="md">
      <Panel title={t('order')}>
        <Stack gap={8}>
          {r.order.map((o) => (
            <Group key={o.tier} gap="sm" wrap="nowrap" align="flex-start">
              <State tone={o.done ? 'good' : 'wait'}>{o.tier}</State>
              <Text size="sm">{o.text}</Text>
            </Group>
          ))}
        </Stack>
      </Panel>
      <FollowUps r={r} again={again} mayAct={mayAct} />
    </Stack>
  );
}
