import { Stack, Text } from '@mantine/core';
import { useLook, usePathParam, usePay, type Result } from '../../data';
import { AsCurl, Empty, Go, Id, Money, Panel, Problem, Sentence, Sheet, Shown, State, Title, Twin, When, type Tone } from '../../parts';
import { useWords } from '../../words/words';
import { Acts } from './Acts';
import { Proposals } from './Take';
import { Flow } from './Flow';
import { Way } from './List';
import { Next } from './Next';
import { Preview } from './Preview';
import { Receipts } from './Receipts';
import { Tiles } from './Tiles';
import { Trace } from './Trace';
import { Waterfall } from './Waterfall';
import classes from './payments.module.css';
import { toneOf, type Timeline, type TraceLook, type Trail, type Triage, type View } from './types';
import words from './words.json';

const idForm = /^pay_[0-9A-HJKMNP-TV-Z]{13}$/;

export default function Payment() {
  const t = useWords(words);
  const id = usePathParam('id');
  if (!idForm.test(id))
    return (
      <>
        <Title>{t('payment')}</Title>
        <Empty title={t('no_id')}>{t('no_id_do')}</Empty>
      </>
    );
  return <One id={id} key={id} />;
}

function One({ id }: { id: string }) {
  const t = useWords(words);
  // What is final is looked at seldom: a statement or a return may still come.
  const view = usePay<View>(`/v1/payments/${id}/view?lang=${t.lang}`, { every: 3000, keep: true });
  const timeline = usePay<Timeline>(`/v1/payments/${id}/timeline`, { every: 4000 });
  const trail = usePay<Trail>(`/v1/payments/${id}/trail`, { every: 4000 });
  const trace = useLook<TraceLook>(`/payments/${id}/trace?lang=${t.lang}`, { every: 8000, keep: true });
  const triage = useLook<Triage>(`/payments/${id}/triage?lang=${t.lang}`, { every: 15_000, keep: true });
  const v = view.data;
  const p = timeline.data?.payment;
  return (
    <>
      <Title
        right={
          <>
            <Twin cmd={`moneta diagnose ${id}`} />
            <AsCurl call={{ path: `/v1/payments/${id}` }} />
          </>
        }
      >
        {v ? `${v.title} · ${v.amount}` : t('payment')}
      </Title>
      {v ? <Sentence tone={toneOfView(v)}>{v.status.texts.headline}{t.lang === 'zh' ? '。' : '. '}{v.status.texts.money}</Sentence> : view.problem ? <Problem of={view.problem} again={view.refetch} /> : <Sentence tone="idle">{t('loading')}</Sentence>}
      <Stack gap="md">
        {p && (
          <div className={classes.facts}>
            <State tone={toneOf(p)}>{t.maybe(`state_${p.state}`) ?? p.state}</State>
            <Money amount={p.amount} asset={p.asset} strong />
            <span><Way p={p} /></span>
            <Id id={id} whole link={false} />
            {v && <span className={classes.dim}>{t('reference')} <Id id={v.status.reference} whole link={false} /></span>}
            <span className={classes.dim}>{t('created')} <When at={p.created_at} /></span>
            {p.original && <span className={classes.dim}>{t('original')} <Id id={p.original} /></span>}
            {p.reason && <span className={classes.dim}>{t('reason')} <span className={classes.mono}>{p.reason}</span></span>}
          </div>
        )}
        {p && v && trail.data && <Acts p={p} v={v} trail={trail.data} />}
        {p && <Proposals p={p} />}
        <div className={classes.two}>
          <Panel title={t('holder')}><Preview id={id} /></Panel>
          <Panel title={t('next')}><Shown of={trail} rows={4}>{(d) => <Next trail={d} />}</Shown></Panel>
        </div>
        <Panel title={t('triage')}><Shown of={triage} rows={6}>{(d) => <Tiles of={d} />}</Shown></Panel>
        <Panel title={t('waterfall')} right={trail.data && <Text size="xs" c="dimmed">{t('trace')} <Id id={trail.data.trace_id} link={false} /></Text>}>
          <Shown of={trail} rows={6}>{(d) => <Waterfall trail={d} />}</Shown>
        </Panel>
        <Panel title={t('trace_title')} right={<Twin cmd={`moneta trace ${id}`} />}><Shown of={trace} rows={5}>{(d) => <Trace look={d} />}</Shown></Panel>
        <Panel title={t('flow')}><Shown of={timeline} rows={4}>{(d) => <Flow of={d} />}</Shown></Panel>
        <Attempts of={timeline} />
        <Callbacks of={trail} />
        <Webhooks of={trail} />
        <Moves of={timeline} />
        <Receipts id={id} />
        <Linked of={timeline} />
      </Stack>
    </>
  );
}

function toneOfView(v: View): Tone {
  if (!v.status.safe) return 'bad';
  if (v.status.phase === 'delayed' || v.status.phase === 'unknown') return 'wait';
  if (v.status.status === 'succeeded') return 'good';
  return v.final_at ? 'idle' : 'info';
}

const attemptTones: Record<string, Tone> = { confirmed: 'good', acked: 'info', intended: 'info', unknown: 'wait', declined: 'idle', absent: 'idle', never_sent: 'idle' };

function Attempts({ of }: { of: Result<Timeline> }) {
  const t = useWords(words);
  return (
    <Panel title={t('attempts')}>
      <Shown of={of} rows={2}>
        {(d) =>
          d.attempts.length === 0 ? (
            <Text size="sm" c="dimmed">{t('attempts_none')}</Text>
          ) : (
            <Sheet
              label={t('attempts')}
              least={760}
              rows={d.attempts}
              keyOf={(a) => a.n}
              columns={[
                { name: t('col_n'), of: (a) => a.n },
                { name: t('col_channel'), of: (a) => a.channel },
                { name: t('col_state'), of: (a) => <State tone={attemptTones[a.state] ?? 'info'}>{t.maybe(`attempt_${a.state}`) ?? a.state}</State> },
                { name: t('col_code'), of: (a) => <span className={classes.mono}>{a.reason ?? '—'}</span> },
                { name: t('col_sent'), of: (a) => <When at={a.intended_at} age={false} /> },
                { name: t('col_answered'), of: (a) => (a.answered_at ? <When at={a.answered_at} age={false} /> : <State tone="wait">{t('open')}</State>) },
                { name: t('col_at_channel'), of: (a) => <><Id id={a.reference} link={false} />{a.channel_id && <> <Id id={a.channel_id} link={false} /></>}</> },
              ]}
            />
          )
        }
      </Shown>
    </Panel>
  );
}

function Callbacks({ of }: { of: Result<Trail> }) {
  const t = useWords(words);
  return (
    <Panel title={t('callbacks')}>
      <Shown of={of} rows={2}>
        {(d) =>
          d.callbacks.length === 0 ? (
            <Text size="sm" c="dimmed">{t('callbacks_none', { n: d.searched_callbacks.toLocaleString('en') })}</Text>
          ) : (
            <Sheet
              label={t('callbacks')}
              least={640}
              rows={d.callbacks}
              keyOf={(c) => c.id}
              columns={[
                { name: t('col_letter'), of: (c) => <>{c.id} <Text span size="xs" c="dimmed">{t('bytes', { n: c.bytes })}</Text></> },
                { name: t('col_channel'), of: (c) => c.channel },
                { name: t('col_received'), of: (c) => <When at={c.received_at} age={false} /> },
                { name: t('col_verified'), of: (c) => (c.verified === undefined ? '—' : <State tone={c.verified ? 'good' : 'wait'}>{t(c.verified ? 'yes' : 'no')}</State>) },
                { name: t('col_applied'), of: (c) => (c.applied_at ? <When at={c.applied_at} age={false} /> : <State tone="wait">{t('waits')}</State>) },
                { name: t('col_verdict'), of: (c) => <span className={classes.mono}>{c.verdict ?? '—'}</span> },
              ]}
            />
          )
        }
      </Shown>
    </Panel>
  );
}

function Webhooks({ of }: { of: Result<Trail> }) {
  const t = useWords(words);
  const tones: Record<string, Tone> = { delivered: 'good', pending: 'wait', given_up: 'bad' };
  return (
    <Panel title={t('webhooks')}>
      <Shown of={of} rows={2}>
        {(d) =>
          d.webhooks.length === 0 ? (
            <Text size="sm" c="dimmed">{t(d.final_at ? 'webhooks_none' : 'webhooks_later')}</Text>
          ) : (
            <Sheet
              label={t('webhooks')}
              least={640}
              rows={d.webhooks}
              keyOf={(w) => w.id}
              columns={[
                { name: t('col_endpoint'), of: (w) => <span className={classes.mono}>{w.url}</span> },
                { name: t('col_event'), of: (w) => <Id id={w.event} link={false} /> },
                { name: t('col_state'), of: (w) => <State tone={tones[w.state] ?? 'info'}>{t.maybe(`webhook_${w.state}`) ?? w.state}</State> },
                { name: t('col_tries'), of: (w) => w.tries },
                { name: t('col_last'), of: (w) => <>{w.last_status ? `HTTP ${w.last_status} ` : (w.last_error ?? '')} <When at={w.last_at} age={false} /></> },
                { name: t('col_next_try'), of: (w) => <When at={w.next_at} /> },
              ]}
            />
          )
        }
      </Shown>
    </Panel>
  );
}

function Moves({ of }: { of: Result<Timeline> }) {
  const t = useWords(words);
  return (
    <Panel title={t('timeline')}>
      <Shown of={of} rows={5}>
        {(d) => (
          <ol className={classes.moves}>
            {d.moves.map((m, i) => (
              <li key={i}>
                <When at={m.at} age={false} />
                <div>
                  <Text size="sm" fw={600}>
                    {m.from === m.to ? (m.settlement === 'matched' ? t('settled') : (t.maybe(`state_${m.to}`) ?? m.to)) : (t.maybe(`state_${m.to}`) ?? m.to)} <Text span size="xs" c="dimmed" className={classes.mono}>{m.transition}{m.attempt ? ` · ${t('attempt_n', { n: m.attempt })}` : ''}{m.source ? ` · ${m.source}` : ''}</Text>
                  </Text>
                  {m.reason && <Text size="sm" className={classes.mono}>{m.reason}</Text>}
                  <Text size="xs" c="dimmed" className={classes.mono}>{m.durable.join(', ')}</Text>
                </div>
              </li>
            ))}
          </ol>
        )}
      </Shown>
    </Panel>
  );
}

function Linked({ of }: { of: Result<Timeline> }) {
  const t = useWords(words);
  const all = of.data?.linked ?? [];
  if (all.length === 0) return null;
  return (
    <Panel title={t('linked')}>
      <Stack gap={6}>
        {all.map((p) => (
          <div key={p.id} className={classes.facts}>
            <State tone={toneOf(p)}>{t.maybe(`state_${p.state}`) ?? p.state}</State>
            <Go to={`/payments/${p.id}`}>{t.maybe(`kind_${p.kind}`) ?? p.kind}</Go>
            <Money amount={p.amount} asset={p.asset} />
            <When at={p.created_at} />
          </div>
        ))}
      </Stack>
    </Panel>
  );
}
