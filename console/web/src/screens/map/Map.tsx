import { Group, Text } from '@mantine/core';
import { useCallback, useEffect, useRef } from 'react';
import { useLiveMap, useLook, useParam, useStreamState, type Result } from '../../data';
import { clockText, Go, Mark, Money, Panel, Plain, screens, Sentence, Shown, Title, Twin, useSpan, When } from '../../parts';
import { useWords } from '../../words/words';
import { HopPanel } from './HopPanel';
import { tones, type History, type Hop, type Look } from './look';
import { figure, River } from './River';
import { Scrubber } from './Scrubber';
import { Worth } from './Worth';
import classes from './map.module.css';
import words from './words.json';

/** What the river stands on, and what follows it. */
const bed = ['postgres', 'serve', 'timer', 'webhooks', 'recon', 'holder', 'operator'];

export default function Map() {
  const t = useWords(words);
  const [at, setAt] = useParam('at');
  const [chosen, setChosen] = useParam('hop');
  const pushed = useLiveMap<Look>();
  // Asked for once, until the stream brings it, and again while the stream does not.
  const lost = useStreamState() === 'lost';
  const asked = useLook<Look>(at === '' && (!pushed || lost) ? '/map' : null, { every: 2000 });
  const live: Result<Look> = pushed && !lost ? { ...asked, data: pushed, problem: null, loading: false } : asked;
  const then = useLook<Look>(at === '' ? null : `/map?at=${encodeURIComponent(at)}`, { keep: true });
  const history = useLook<History>('/map/history', { every: 5000 });
  const of: Result<Look> = at === '' ? live : then;
  const detail = useRef<HTMLDivElement>(null);
  const choose = useCallback((hop: string) => setChosen(hop === chosen ? '' : hop, true), [chosen, setChosen]);
  useEffect(() => {
    if (chosen !== '') detail.current?.scrollIntoView({ block: 'nearest', behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
  }, [chosen]);
  return (
    <>
      <Title right={<Twin cmd="moneta incident watch" />}>{t('title')}</Title>
      <Shown of={of} rows={10}>
        {(look) => {
          const hop = look.hops.find((h) => h.name === chosen);
          return (
            <>
              <Sentence tone={tones[look.state]}>{look.sentence[t.lang]}</Sentence>
              {at !== '' && (
                <div className={classes.past} role="status">
                  <Mark tone="info" size={14} /> {t('you_see', { at: clockText(new Date(look.at), t.lang) })}
                </div>
              )}
              <Facts look={look} />
              <section className={`${classes.frame} ${classes[`frame_${look.state}`]}`} aria-label={t('picture')}>
                <River look={look} still={at !== ''} chosen={chosen} choose={choose} />
                <Bed look={look} chosen={chosen} choose={choose} />
                <Shown of={history} rows={1}>
                  {(h) => <Scrubber history={h} at={at} choose={(to) => setAt(to)} />}
                </Shown>
              </section>
              <div ref={detail} className={classes.detail}>
                {hop && <HopPanel look={look} hop={hop} history={history.data} past={at !== ''} close={() => setChosen('')} />}
              </div>
              <AsTable look={look} />
            </>
          );
        }}
      </Shown>
    </>
  );
}

/** Facts are the few figures of the whole. */
function Facts({ look }: { look: Look }) {
  const t = useWords(words);
  const span = useSpan();
  const open = look.open;
  // What waits for a payer, a holder or one of us is under way too.
  const held = look.hops.reduce((n, h) => n + (h.held ?? 0), 0);
  return (
    <dl className={classes.facts}>
      <div>
        <dt>{t('under_way')}</dt>
        <dd>{open ? open.items + held : t('not_counted')}</dd>
        {open && held > 0 && <dd className={classes.small}>{t('held_of', { n: held })}</dd>}
        {open && open.items > 0 && (
          <dd className={classes.small}>
            <Worth value={open.value} most={3} />
          </dd>
        )}
      </div>
      <div>
        <dt>{t('oldest_all')}</dt>
        <dd>{open?.oldest ? span('for', Math.max(0, (new Date(look.at).getTime() - new Date(open.oldest).getTime()) / 1000)) : '—'}</dd>
      </div>
      <div>
        <dt>{t('books')}</dt>
        <dd className={look.money.state === 'off' ? classes.tone_stalled : look.money.state === 'unknown' ? classes.tone_waiting : undefined}>{t(`books_${look.money.state}`)}</dd>
        {look.money.checked_s !== undefined && <dd className={classes.small}>{t('checked', { age: span('ago', look.money.checked_s) })}</dd>}
      </div>
      {look.incident && (
        <div>
          <dt>{t('incident')}</dt>
          <dd>
            {screens.some((s) => s.path.startsWith('/incidents')) ? <Go to={`/incidents/${look.incident.id}`}>{look.incident.cause?.[t.lang] ?? t('looking')}</Go> : (look.incident.cause?.[t.lang] ?? t('looking'))}
          </dd>
          <dd className={classes.small}>
            {t(`stage_${look.incident.stage}` as 'stage_detected')}
            {look.incident.confidence ? `, ${t('sure', { n: Math.round(look.incident.confidence * 100) })}` : ''}
          </dd>
        </div>
      )}
    </dl>
  );
}

function Bed({ look, chosen, choose }: { look: Look; chosen: string; choose: (hop: string) => void }) {
  const t = useWords(words);
  const all = bed.map((n) => look.hops.find((h) => h.name === n)).filter((h): h is Hop => !!h);
  const arms = look.hops.filter((h) => h.kind === 'channel');
  const idle = arms.filter((h) => h.state === 'fine' && !h.in_s && !h.out_s && !h.waits?.items && !h.held);
  return (
    <div className={classes.bed} role="group" aria-label={t('bed')}>
      {all.map((h) => (
        <button key={h.name} type="button" className={`${classes.stone} ${classes[`stone_${h.state}`]} ${chosen === h.name ? classes.chosen : ''}`} onClick={() => choose(h.name)} aria-pressed={chosen === h.name} data-hop={h.name} data-state={h.state}>
          <Mark tone={tones[h.state]} size={13} />
          <span>
            {t.maybe(`hop_${h.name}`) ?? h.name}
            <span className={classes.heard}>: {t(`state_${h.state}`)}</span>
          </span>
          <small>{note(h, t)}</small>
        </button>
      ))}
      {idle.length > 0 && (
        <Text size="sm" className={classes.idle} component="div">
          {t('idle', { n: idle.length })}{' '}
          {idle.map((h, i) => (
            <span key={h.name}>
              {i > 0 && ', '}
              <Plain onClick={() => choose(h.name)}>{h.name}</Plain>
            </span>
          ))}
        </Text>
      )}
    </div>
  );
}

function note(h: Hop, t: ReturnType<typeof useWords<typeof words>>): string {
  if (h.state !== 'fine') return h.why?.[t.lang] ?? t(`state_${h.state}`);
  const f = h.figures ?? {};
  switch (h.name) {
    case 'postgres':
      return f.pg_commits === undefined ? '' : t('commits', { n: figure(f.pg_commits) });
    case 'webhooks':
      return f.rate === undefined ? '' : t('per_s', { n: figure(f.rate) });
    case 'holder':
    case 'operator':
      return t('there', { n: h.held ?? 0 });
    case 'timer':
      return (f.timer_late ?? 0) >= 1 ? t('late_by', { n: Math.round(f.timer_late ?? 0) }) : t('on_time');
  }
  return '';
}

/** AsTable is the picture in words and figures. */
function AsTable({ look }: { look: Look }) {
  const t = useWords(words);
  return (
    <details className={classes.table}>
      <summary>{t('as_table')}</summary>
      <Panel pad>
        <div className={classes.scroll} tabIndex={0} role="region" aria-label={t('as_table')}>
          <table>
            <thead>
              <tr>
                <th scope="col">{t('hop')}</th>
                <th scope="col">{t('state')}</th>
                <th scope="col">{t('comes')}</th>
                <th scope="col">{t('goes')}</th>
                <th scope="col">{t('waiting')}</th>
                <th scope="col">{t('worth')}</th>
                <th scope="col">{t('oldest_there')}</th>
              </tr>
            </thead>
            <tbody>
              {look.hops.map((h) => (
                <tr key={h.name}>
                  <th scope="row">{t.maybe(`hop_${h.name}`) ?? h.name}</th>
                  <td>
                    <Group gap={5} wrap="nowrap">
                      <Mark tone={tones[h.state]} /> {t(`state_${h.state}`)}
                    </Group>
                    {h.why && <small>{h.why[t.lang]}</small>}
                  </td>
                  <td>{h.in_s === undefined ? '—' : t('per_s', { n: figure(h.in_s) })}</td>
                  <td>{h.out_s === undefined ? '—' : t('per_s', { n: figure(h.out_s) })}</td>
                  <td>{h.waits ? h.waits.items : '—'}</td>
                  <td>
                    {Object.entries(h.waits?.value ?? {}).map(([asset, v]) => (
                      <div key={asset}>
                        <Money amount={v} asset={asset} />
                      </div>
                    ))}
                  </td>
                  <td>{h.waits?.oldest ? <When at={h.waits.oldest} /> : '—'}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Panel>
    </details>
  );
}
