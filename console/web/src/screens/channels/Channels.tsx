import { Group, Stack, Text } from '@mantine/core';
import { useLook, useParam, usePay } from '../../data';
import { Chart, Empty, Go, Money, Panel, RangePick, screens, Sentence, Shown, State, Title, Twin, useRange, useSpan, useTick, When, type Range } from '../../parts';
import { useWords } from '../../words/words';
import { kinds, nanos, percent, time, tones, type ChannelLook, type Contract, type Course, type Pile } from './look';
import { Verify } from './Verify';
import classes from './channels.module.css';
import words from './words.json';

export default function Channels() {
  const t = useWords(words);
  const [name, setName] = useParam('name');
  const all = useLook<{ at: string; channels: ChannelLook[] }>('/channels', { every: 2000 });
  return (
    <>
      <Title right={<Twin cmd="moneta channel list" />}>{t('title')}</Title>
      <Shown of={all} rows={10}>
        {({ channels }) => (
          <>
            <Summary all={channels} />
            {channels.length === 0 ? (
              <Empty title={t('none')}>{t('none_do')}</Empty>
            ) : (
              <>
                {name !== '' && <One name={name} close={() => setName('')} />}
                <div className={classes.cards}>
                  {channels.map((c) => (
                    <Card key={c.name} c={c} chosen={c.name === name} choose={() => setName(c.name === name ? '' : c.name, true)} />
                  ))}
                </div>
              </>
            )}
          </>
        )}
      </Shown>
    </>
  );
}

/** callsLeast is the rate from which on a channel counts as called. */
const callsLeast = 0.005;

function Summary({ all }: { all: ChannelLook[] }) {
  const t = useWords(words);
  const stalled = all.filter((c) => c.state === 'stalled');
  const waiting = all.filter((c) => c.state === 'waiting' || c.breaker_open || (c.paused ?? []).length > 0);
  const heard = all.filter((c) => c.state !== 'unknown');
  const names = (of: ChannelLook[]) => of.map((c) => c.name).join(', ');
  if (stalled.length > 0) return <Sentence tone="bad">{t(stalled.length === 1 ? 'sum_stalled_one' : 'sum_stalled', { n: stalled.length, names: names(stalled) })}</Sentence>;
  if (waiting.length > 0) return <Sentence tone="wait">{t('sum_waiting', { names: names(waiting) })}</Sentence>;
  if (heard.length === 0) return <Sentence tone="idle">{t('sum_silent')}</Sentence>;
  const called = heard.filter((c) => (c.rate_s ?? 0) >= callsLeast).length;
  if (called === 0) return <Sentence tone="idle">{t('sum_quiet', { n: heard.length, of: all.length })}</Sentence>;
  return <Sentence tone="good">{t('sum_well', { n: heard.length, of: all.length, called })}</Sentence>;
}

function Card({ c, chosen, choose }: { c: ChannelLook; chosen: boolean; choose: () => void }) {
  const t = useWords(words);
  const behind = (c.open?.items ?? 0) + (c.held ?? 0) + (c.queued?.items ?? 0) + (c.unknown?.items ?? 0);
  return (
    <button type="button" className={`${classes.card} ${classes[`card_${c.state}`]} ${chosen ? classes.chosen : ''}`} onClick={choose} aria-pressed={chosen} data-channel={c.name}>
      <Group justify="space-between" gap="xs" wrap="nowrap">
        <span className={classes.name}>{c.name}</span>
        <State tone={tones[c.state]}>{t(`state_${c.state}`)}</State>
      </Group>
      <Mix mix={c.mix} />
      <div className={classes.quantiles}>
        {(['p50', 'p95', 'p99'] as const).map((q) => (
          <span key={q}>
            <small>{q}</small> {time(c.latency_s[q])}
          </span>
        ))}
      </div>
      <div className={classes.foot}>
        <span>{c.rate_s === undefined || c.rate_s < callsLeast ? t('no_calls') : t('calls', { n: c.rate_s.toFixed(c.rate_s < 1 ? 2 : c.rate_s < 10 ? 1 : 0) })}</span>
        {behind > 0 && <span>{t('under_way', { n: behind })}</span>}
        {c.breaker_open && <State tone="wait">{t('breaker')}</State>}
        {(c.paused ?? []).length > 0 && <State tone="wait">{t('paused')}</State>}
      </div>
    </button>
  );
}

/** Mix is what the answers of late were, as one bar. */
function Mix({ mix, tall }: { mix: Record<string, number> | undefined; tall?: boolean }) {
  const t = useWords(words);
  if (!mix) return <div className={`${classes.mix} ${classes.quiet} ${tall ? classes.tall : ''}`} role="img" aria-label={t('not_called')} />;
  const shown = kinds.filter((k) => (mix[k] ?? 0) > 0);
  const said = shown.map((k) => `${t(`mix_${k}`)} ${percent(mix[k])}`).join(', ');
  return (
    <div className={`${classes.mix} ${tall ? classes.tall : ''}`} role="img" aria-label={said}>
      {shown.map((k) => (
        <i key={k} className={classes[`part_${k}`]} style={{ flexGrow: mix[k] ?? 0 }} title={`${t(`mix_${k}`)} ${percent(mix[k])}`} />
      ))}
    </div>
  );
}

function One({ name, close }: { name: string; close: () => void }) {
  const t = useWords(words);
  const one = useLook<ChannelLook>(`/channels/${encodeURIComponent(name)}`, { every: 5000, keep: true });
  const range = useRange();
  return (
    <Panel
      title={name}
      right={
        <button type="button" className={classes.close} onClick={close} aria-label={t('close')}>
          <span aria-hidden>✕</span>
        </button>
      }
    >
      <Shown of={one} rows={8}>
        {(whole) => {
          const c = { ...whole, course: whole.course && narrowed(whole.course, range) };
          return (
          <div className={classes.one}>
            <Stack gap="lg">
              <div>
                <State tone={tones[c.state]}>{t(`state_${c.state}`)}</State> {c.why?.[t.lang]}
                <Text size="sm" c="dimmed">
                  {t('so_since')} <When at={c.since} />
                </Text>
              </div>
              <Legend c={c} />
              <RangePick spans={['1m', '5m']} days={false} />
              <Bands c={c} />
              <MixCourse c={c} />
            </Stack>
            <Stack gap="lg">
              <Waits c={c} />
              <Held c={c} />
              <Books name={c.name} />
              {c.contract ? <Terms name={c.name} k={c.contract} /> : <Text size="sm">{t('no_contract')}</Text>}
            </Stack>
          </div>
          );
        }}
      </Shown>
    </Panel>
  );
}

/** narrowed is the part of a course in the range. */
function narrowed(c: Course, range: Range): Course {
  if (!range.narrow) return c;
  const on = c.at.map((a) => range.holds(a));
  const only = <T,>(all: T[]) => all.filter((_, i) => on[i]);
  const each = (of: Course['mix']) => Object.fromEntries(Object.entries(of).map(([k, v]) => [k, only(v)]));
  return { at: only(c.at), latency_s: each(c.latency_s), mix: each(c.mix), rate_s: only(c.rate_s) };
}

function Legend({ c }: { c: ChannelLook }) {
  const t = useWords(words);
  return (
    <div>
      <h3 className={classes.h3}>{t('answers')}</h3>
      <Mix mix={c.mix} tall />
      {!c.mix && <Text size="sm">{t('not_called')}</Text>}
      <ul className={classes.legend}>
        {kinds
          .filter((k) => (c.mix?.[k] ?? 0) > 0)
          .map((k) => (
            <li key={k}>
              <i className={classes[`part_${k}`]} aria-hidden /> {t(`mix_${k}`)} <b>{percent(c.mix?.[k])}</b>
            </li>
          ))}
        {c.declines !== undefined && c.declines > 0 && <li>{t('declines', { n: percent(c.declines) })}</li>}
      </ul>
    </div>
  );
}

/** Bands are the quantiles of an order's time over the last quarter of an hour. */
function Bands({ c }: { c: ChannelLook }) {
  const t = useWords(words);
  const course = c.course;
  const known = course && Object.values(course.latency_s).some((l) => l.some((v) => v !== null));
  return (
    <div>
      <h3 className={classes.h3}>{t('latency')}</h3>
      {course && known ? (
        <Chart
          times={course.at.map((a) => Date.parse(a) / 1000)}
          series={(['p50', 'p95', 'p99'] as const).map((q) => ({ name: q, values: (course.latency_s[q] ?? []).map((v) => (v === null ? null : Math.round(v * 1e5) / 100)) }))}
          unit=" ms"
          height={190}
          label={t('latency_label', { name: c.name, p50: time(c.latency_s.p50), p95: time(c.latency_s.p95), p99: time(c.latency_s.p99) })}
        />
      ) : (
        <Text size="sm">{t('no_latency')}</Text>
      )}
    </div>
  );
}

/** MixCourse is the mix over time, a column each five seconds. */
function MixCourse({ c }: { c: ChannelLook }) {
  const t = useWords(words);
  const course = c.course;
  if (!course) return null;
  const n = course.at.length;
  const first = (course.mix.good ?? []).findIndex((v) => v !== null);
  if (first < 0) return null;
  const bad = (course.mix.good ?? []).filter((v) => v !== null && v < 0.99).length;
  return (
    <div>
      <h3 className={classes.h3}>{t('answers_over')}</h3>
      <svg viewBox={`0 0 ${n} 40`} preserveAspectRatio="none" className={classes.course} role="img" aria-label={t('answers_over_label', { n: bad, of: n - first })}>
        {course.at.map((at, i) => {
          let y = 40;
          return (
            <g key={at}>
              {kinds.map((k) => {
                const v = course.mix[k]?.[i] ?? 0;
                if (!v) return null;
                y -= v * 40;
                return <rect key={k} x={i} y={y} width={1.05} height={v * 40} className={classes[`part_${k}`]} />;
              })}
            </g>
          );
        })}
      </svg>
    </div>
  );
}

function Waits({ c }: { c: ChannelLook }) {
  const t = useWords(words);
  return (
    <dl className={classes.figures}>
      <PileFigure name={t('queued')} pile={c.queued} />
      <PileFigure name={t('open')} pile={c.open} />
      {!!c.held && <Figure name={t('with_somebody')}>{c.held}</Figure>}
      <PileFigure name={t('unknown')} pile={c.unknown} />
      <Figure name={t('busy')}>{percent(c.busy)}</Figure>
      <Figure name={t('callbacks')}>{c.callbacks_s === undefined ? '—' : t('per_s', { n: c.callbacks_s.toFixed(1) })}</Figure>
      <Figure name={t('lag')}>{time(c.callback_lag_s)}</Figure>
    </dl>
  );
}

function PileFigure({ name, pile }: { name: string; pile: Pile | undefined }) {
  const t = useWords(words);
  const span = useSpan();
  const tick = useTick();
  return (
    <Figure name={name}>
      {pile?.items ?? 0}
      {pile && pile.items > 0 && (
        <span className={classes.small}>
          {Object.entries(pile.value).map(([asset, v]) => (
            <span key={asset}>
              <Money amount={v} asset={asset} />{' '}
            </span>
          ))}
          {pile.oldest && t('oldest', { age: span('for', Math.max(0, (tick - Date.parse(pile.oldest)) / 1000)) })}
        </span>
      )}
    </Figure>
  );
}

function Figure({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Held({ c }: { c: ChannelLook }) {
  const t = useWords(words);
  return (
    <div>
      <h3 className={classes.h3}>{t('held')}</h3>
      <Text size="sm">{t(c.breaker_open ? 'breaker_open' : 'breaker_closed')}</Text>
      {(c.paused ?? []).map((p) => (
        <Text size="sm" key={p.lever}>
          <State tone="wait">{p.by}</State> {p.aim}: {p.reason} ({p.owner})
        </Text>
      ))}
      {(c.paused ?? []).length === 0 && <Text size="sm">{t('no_lever')}</Text>}
      <Twin cmd={`moneta lever pull pause-dispatch channel:${c.name} --for 10m --owner NAME --reason WHY --dry-run`} />
    </div>
  );
}

type Clearing = { channel: string; asset: string; direction: string; balance: string; unexplained: string };
type Imported = { channel: string; imported_at: string };

/** Books are the money that is between us and the channel, as the ledger has it. */
function Books({ name }: { name: string }) {
  const t = useWords(words);
  const clearing = usePay<{ data: Clearing[] }>('/v1/recon/clearing', { every: 15_000, keep: true });
  const files = usePay<{ data: Imported[] }>(`/v1/recon/statements?channel=${encodeURIComponent(name)}&limit=1`, { keep: true });
  return (
    <div>
      <h3 className={classes.h3}>{t('clearing')}</h3>
      <Shown of={clearing} rows={2}>
        {({ data }) => {
          const own = data.filter((c) => c.channel === name);
          if (own.length === 0) return <Text size="sm">{t('clearing_none')}</Text>;
          return (
            <dl className={classes.figures}>
              {own.map((c) => (
                <Figure key={c.asset + c.direction} name={t(c.direction === 'in' ? 'clearing_in' : 'clearing_out')}>
                  <Money amount={c.balance} asset={c.asset} />
                  {c.unexplained !== '0' && (
                    <span className={classes.small}>
                      {t('unexplained')} <Money amount={c.unexplained} asset={c.asset} />
                    </span>
                  )}
                </Figure>
              ))}
            </dl>
          );
        }}
      </Shown>
      {files.data && (
        <Text size="sm" mt={6}>
          {files.data.data[0] ? (
            <>
              {t('last_statement')} <When at={files.data.data[0].imported_at} />
            </>
          ) : (
            t('statement_asked')
          )}
        </Text>
      )}
      {screens.some((s) => s.path === '/recon') && <Go to={`/recon?channel=${name}`}>{t('to_recon')}</Go>}
    </div>
  );
}

/** Terms are what the channel promises, and what of it was shown. */
function Terms({ name, k }: { name: string; k: Contract }) {
  const t = useWords(words);
  const c = k.claims;
  const yes = (v: unknown) => t(v === true ? 'yes' : 'no');
  const rows: [string, string][] = [
    [t('term_dedup'), yes(c.DedupByReference)],
    [t('term_query'), yes(c.QueryByReference)],
    [t('term_budget'), typeof c.QueryBudget === 'number' && c.QueryBudget > 0 ? `${c.QueryBudget} / ${nanos(c.QueryWindow)}` : '—'],
    [t('term_never'), yes(c.NotFoundMeansNever)],
    [t('term_visible'), nanos(c.VisibilityDelay)],
    [t('term_cancel'), yes(c.Cancel)],
    [t('term_refund'), yes(c.Refund)],
    [t('term_statement'), nanos(c.StatementWithin)],
    [t('term_timeout'), nanos(c.ClientTimeout)],
    [t('term_final'), nanos(c.FinalBound)],
    [t('term_inflight'), String(c.MaxInFlight ?? '—')],
  ];
  return (
    <div>
      <h3 className={classes.h3}>{t('contract')}</h3>
      <Text size="sm">
        <State tone={k.may_resend ? 'good' : 'idle'}>{t(k.may_resend ? 'resend_yes' : 'resend_no')}</State>
      </Text>
      <table className={classes.terms}>
        <tbody>
          {rows.map(([term, value]) => (
            <tr key={term}>
              <th scope="row">{term}</th>
              <td>{value}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <h3 className={classes.h3}>{t('shown')}</h3>
      {k.proofs.length === 0 ? (
        <Text size="sm">{t('never_tested')}</Text>
      ) : (
        k.proofs.map((p) => (
          <Text size="sm" key={p.capability} data-proof={p.status}>
            <State tone={p.status === 'proven' ? 'good' : p.status === 'failed' ? 'bad' : 'idle'}>{t.maybe(`claim_${p.capability}`) ?? p.capability}</State> {t.maybe(`proof_${p.status}`) ?? p.status},{' '}
            {p.status === 'proven' ? <>{t('until')} <When at={p.expires_at} age={false} /></> : <When at={p.proven_at} age={false} />}
            {p.detail && <span className={classes.small}>{p.detail.replace(/^not shown: /, '')}</span>}
          </Text>
        ))
      )}
      {k.test_url ? <Verify name={name} at={k.test_url} /> : <Text size="sm" mt={6}>{t('verify_none')}</Text>}
      <Twin cmd={`moneta channel show --channel ${name}`} />
    </div>
  );
}
