// What one hop is like: its figures, how it was, what is in it, who holds it.
import { Group, Stack, Text } from '@mantine/core';
import { useLook } from '../../data';
import { Empty, Go, Money, Panel, screens, Shown, State, Twin, useSpan, When } from '../../parts';
import { useWords } from '../../words/words';
import { behind, laneOf, tones, type Ages, type History, type Hop, type Look } from './look';
import { figure } from './River';
import { Spark } from './Spark';
import classes from './map.module.css';
import words from './words.json';

const counted = ['dispatch', 'settle', 'decider'];

export function HopPanel({ look, hop, history, past, close }: { look: Look; hop: Hop; history?: History; past: boolean; close: () => void }) {
  const t = useWords(words);
  const name = t.maybe(`hop_${hop.name}`) ?? hop.name;
  const pile = behind(look, hop);
  const course = history?.hops[hop.name];
  const held = look.hops.flatMap((h) => (h.paused ?? []).filter(() => h.name === hop.name || h.name === 'dispatch')).filter((p) => hop.name === 'dispatch' || hop.kind !== 'channel' || p.aim === 'everything' || p.aim === `channel:${hop.name}`);
  const levers = hop.kind === 'channel' || hop.name === 'dispatch' ? held : (hop.paused ?? []);
  const channel = hop.kind === 'channel';
  const lane = channel ? laneOf(look, 'dispatch', hop.name) : undefined;
  return (
    <Panel
      title={
        <Group gap="sm">
          {name} <State tone={tones[hop.state]}>{t(`state_${hop.state}`)}</State>
        </Group>
      }
      right={
        <button type="button" className={classes.close} onClick={close} aria-label={t('close')}>
          <span aria-hidden>✕</span>
        </button>
      }
    >
      <div className={classes.panelGrid}>
        <Stack gap="sm">
          <Text size="sm">{t.maybe(`about_${hop.name}`) ?? (channel ? t('about_channel') : '')}</Text>
          {hop.why && !hop.alarms?.some((a) => a.says.en === hop.why?.en) && <Text fw={600}>{hop.why[t.lang]}</Text>}
          <Text size="sm" c="dimmed">
            {t('so_since')} <When at={hop.since} />
          </Text>
          {(hop.alarms ?? []).map((a) => (
            <Text size="sm" key={a.rule + a.says.en}>
              <State tone={a.page ? 'bad' : 'wait'}>{a.rule}</State> {a.says[t.lang]}, {t('since')} <When at={a.since} />
            </Text>
          ))}
          <dl className={classes.figures}>
            {hop.in_s !== undefined && <Figure name={t('comes')} value={t('per_s', { n: figure(hop.in_s) })} />}
            {hop.out_s !== undefined && <Figure name={t('goes')} value={t('per_s', { n: figure(hop.out_s) })} />}
            {hop.waits && <Figure name={channel ? t('with_it') : t('waiting')} value={String(hop.waits.items)} />}
            {lane && <Figure name={t('queued')} value={String(lane.waits.items)} />}
            {Object.entries(pile.value).map(([asset, v]) => (
              <Figure key={asset} name={t('worth')} value={<Money amount={v} asset={asset} />} />
            ))}
            {pile.oldest && <Figure name={t('oldest_there')} value={<When at={pile.oldest} />} />}
            {!!hop.overdue && <Figure name={t('overdue')} value={String(hop.overdue)} />}
            {hop.due && <Figure name={t('due')} value={<When at={hop.due} />} />}
            {!!hop.held && <Figure name={t('held')} value={String(hop.held)} />}
            {hop.usual_s !== undefined && hop.usual_s > 0 && <Figure name={t('usual')} value={<Seconds s={hop.usual_s} />} />}
            {Object.entries(hop.figures ?? {}).map(([k, v]) => {
              const label = t.maybe(`figure_${k.replaceAll(' ', '_')}`);
              return label ? <Figure key={k} name={label} value={said(k, v)} /> : null;
            })}
          </dl>
        </Stack>
        <Stack gap="md">
          {course && (
            <>
              <Spark label={t('waiting_over')} at={history?.at ?? []} values={course.waiting} state={hop.state} />
              <Spark label={t('flow_over')} at={history?.at ?? []} values={course.out_s} state="fine" />
            </>
          )}
          {!past && (counted.includes(hop.name) || channel) && <Old hop={hop.name} />}
          {levers.length > 0 && (
            <Stack gap={4}>
              <Text fw={600} size="sm">
                {t('levers')}
              </Text>
              {levers.map((l) => (
                <div key={l.lever}>
                  <Text size="sm">
                    <State tone="wait">{l.by}</State> {l.aim}: {l.reason} ({l.owner})
                  </Text>
                </div>
              ))}
              <Twin cmd="moneta lever list" />
            </Stack>
          )}
          <Stack gap={6}>
            {channel && screens.some((s) => s.path === '/channels') && <Go to={`/channels?name=${hop.name}`}>{t('to_channel', { name: hop.name })}</Go>}
            {(channel || counted.includes(hop.name)) && screens.some((s) => s.path === '/payments') && <Go to={listOf(hop)}>{t('to_payments')}</Go>}
            {look.incident && screens.some((s) => s.path.startsWith('/incidents')) && <Go to={`/incidents/${look.incident.id}`}>{t('to_incident')}</Go>}
            <Twin cmd={channel ? `moneta channel show ${hop.name}` : 'moneta diagnose'} />
            {channel && <Twin cmd={`moneta lever pull pause-dispatch channel:${hop.name} --for 10m --owner NAME --reason WHY --dry-run`} />}
          </Stack>
        </Stack>
      </div>
    </Panel>
  );
}

function listOf(hop: Hop): string {
  if (hop.kind === 'channel') return `/payments?channel=${hop.name}&status=processing`;
  return `/payments?state=${{ dispatch: 'dispatching', settle: 'unknown', decider: 'created' }[hop.name] ?? ''}`;
}

function Figure({ name, value }: { name: string; value: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Seconds({ s }: { s: number }) {
  const span = useSpan();
  return <>{s < 10 ? `${Math.round(s * 1000)} ms` : span('for', s)}</>;
}

/** said writes a figure of a signal with its unit. */
function said(key: string, v: number): string {
  if (/latency|age|late|connect/.test(key)) return v < 10 ? `${Math.round(v * 1000)} ms` : `${Math.round(v)} s`;
  if (/errors|busy|refused|timeouts|declines|unreachable|connections/.test(key)) return `${(v * 100).toFixed(v > 0 && v < 0.1 ? 1 : 0)} %`;
  return figure(v);
}

/** Old is how old what is there is. */
function Old({ hop }: { hop: string }) {
  const t = useWords(words);
  const span = useSpan();
  const ages = useLook<Ages>(`/map/ages?hop=${encodeURIComponent(hop)}`, { every: 3000, keep: true });
  return (
    <div>
      <Text fw={600} size="sm" mb={4}>
        {t('by_age')}
      </Text>
      <Shown of={ages} rows={3}>
        {(a) => {
          const most = Math.max(...a.buckets.map((b) => b.items));
          if (most === 0) return <Empty title={t('none_there')} />;
          const last = a.buckets.findLastIndex((b) => b.items > 0);
          return (
            <>
              <table className={classes.ages}>
                <tbody>
                  {a.buckets.slice(0, last + 1).map((b, i) => {
                    const next = a.buckets[i + 1];
                    return (
                      <tr key={b.from_s}>
                        <th scope="row">{next ? `${span('for', b.from_s)} – ${span('for', next.from_s)}` : `> ${span('for', b.from_s)}`}</th>
                        <td>
                          <div className={b.from_s >= 60 ? classes.oldBar : classes.bar} style={{ width: b.items === 0 ? 0 : `${Math.max(2, (100 * b.items) / most)}%` }} />
                        </td>
                        <td>{b.items}</td>
                      </tr>
                    );
                  })}
                </tbody>
              </table>
              {!a.whole && <Text size="sm">{t('not_whole')}</Text>}
            </>
          );
        }}
      </Shown>
    </div>
  );
}
