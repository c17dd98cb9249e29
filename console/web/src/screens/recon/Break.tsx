import { Button, Group, Select, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { useState, type ReactNode } from 'react';
import { amountText, decimal, may, minorOf, useDo, usePathParam, usePay, useSession } from '../../data';
import { AsCurl, Go, Id, Money, Panel, Problem, Sentence, Shown, State, Title, Twin, useSpan, When, Wide } from '../../parts';
import { Proposal } from '../../parts/proposal';
import { TAccounts } from '../../parts/taccount';
import { useWords } from '../../words/words';
import { toneOf, type Approval, type BreakOf, type Line, type List, type Ours } from './model';
import classes from './recon.module.css';
import words from './words.json';

export default function Break() {
  const t = useWords(words);
  const id = usePathParam('id');
  const path = `/v1/recon/breaks/${id}`;
  const found = usePay<BreakOf>(path, { every: 10_000 });
  return (
    <>
      <Title right={<><AsCurl call={{ path }} /><Twin cmd={`moneta recon show ${id}`} /></>}>{t('break_n', { n: id })}</Title>
      <Shown of={found}>{(b) => <One b={b} />}</Shown>
    </>
  );
}

function One({ b }: { b: BreakOf }) {
  const t = useWords(words);
  const span = useSpan();
  const value = b.asset ? amountText(b.amount, b.asset) : '';
  return (
    <>
      <Sentence tone={b.state === 'open' ? toneOf(b.severity) : 'good'}>
        {b.state === 'open'
          ? t('break_open', { title: b.title[t.lang], channel: b.channel || '—', value, age: span('for', b.age_s), owner: t.maybe(`owner_${b.owner}`) ?? b.owner })
          : t('break_closed', { title: b.title[t.lang], channel: b.channel || '—', value, state: t(`state_${b.state}`), who: b.closed_by ?? '', why: b.reason ?? '' })}
      </Sentence>
      <Stack gap="md">
        <p><Go to="/recon">{t('back')}</Go></p>
        <Panel title={t('both_sides')}>
          {b.detail && <Text mb="sm">{b.detail}</Text>}
          <Sides b={b} />
        </Panel>
        <Suggested b={b} />
        {b.state === 'open' && <Desk b={b} />}
        <Panel title={t('history')}>
          <ul className={classes.history}>
            {(b.history ?? []).map((h, i) => (
              <li key={i}>
                <strong>{t.maybe(`what_${h.what}`) ?? h.what}</strong> · {h.who} · <When at={h.at} />
                {h.note && <div>{h.note}</div>}
              </li>
            ))}
          </ul>
        </Panel>
      </Stack>
    </>
  );
}

function Fact({ name, off, children }: { name: string; off?: boolean; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd className={off ? classes.off : undefined}>{children}</dd>
    </>
  );
}

function Sides({ b }: { b: BreakOf }) {
  const t = useWords(words);
  const ours = b.sides?.ours;
  const lines = b.sides?.lines ?? [];
  return (
    <div className={classes.sides}>
      <section aria-label={t('our_side')}>
        <h3>{t('our_side')}</h3>
        {ours ? <OurSide o={ours} lines={lines} /> : <Text c="dimmed">{t('nobody_here')}</Text>}
      </section>
      <section aria-label={t('their_side')}>
        <h3>{t('their_side')}</h3>
        {lines.length === 0 ? (
          <Text c="dimmed">{t('no_line')}</Text>
        ) : (
          <div className={classes.lines}>
            {lines.map((l, i) => (
              <TheirLine key={`${l.line}${i}`} l={l} ours={ours} again={i > 0 && lines.slice(0, i).some((o) => o.line === l.line || o.reference === l.reference)} />
            ))}
          </div>
        )}
      </section>
    </div>
  );
}

function OurSide({ o, lines }: { o: Ours; lines: Line[] }) {
  const t = useWords(words);
  const amountOff = lines.some((l) => l.amount !== o.amount || l.asset !== o.asset);
  return (
    <>
      <dl className={classes.dl}>
        <Fact name={t('payment')}><Id id={o.payment} /></Fact>
        <Fact name={t('kind')}>{o.kind} · {o.state} · {t('settlement')} {o.settlement}</Fact>
        <Fact name={t('amount')} off={amountOff}><Money amount={o.amount} asset={o.asset} strong />{amountOff && ` ${t('differs')}`}</Fact>
        <Fact name={t('fee')}><Money amount={o.fee} asset={o.asset} /></Fact>
        {o.account && <Fact name={t('account')}><Go to={`/ledger?account=${o.account}`}>{o.account}</Go></Fact>}
        <Fact name={t('accepted_at')}><When at={o.created_at} /></Fact>
        {o.due_at && <Fact name={t('due_at')}><When at={o.due_at} /></Fact>}
      </dl>
      {o.attempts.length > 0 && (
        <Wide label={t('attempts')} least={420}>
          <table className={classes.table}>
            <thead>
              <tr>
                <th scope="col">{t('attempt')}</th>
                <th scope="col">{t('reference')}</th>
                <th scope="col">{t('state')}</th>
                <th scope="col">{t('channel_id')}</th>
              </tr>
            </thead>
            <tbody>
              {o.attempts.map((a) => (
                <tr key={a.n}>
                  <td>{a.n} · {a.channel}</td>
                  <td><Id id={a.reference} /></td>
                  <td>{a.state}{a.reason && ` (${a.reason})`}</td>
                  <td>{a.channel_id ?? '—'}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Wide>
      )}
    </>
  );
}

function TheirLine({ l, ours, again }: { l: Line; ours?: Ours; again: boolean }) {
  const t = useWords(words);
  const off = ours !== undefined && (l.amount !== ours.amount || l.asset !== ours.asset);
  return (
    <dl className={classes.dl}>
      <Fact name={t('line')} off={again}>{l.line} · {t(l.direction === 'in' ? 'dir_in' : 'dir_out')}{again && ` · ${t('told_again')}`}</Fact>
      <Fact name={t('reference')}>{l.reference ? <Id id={l.reference} /> : '—'}</Fact>
      <Fact name={t('amount')} off={off}><Money amount={l.amount} asset={l.asset} strong />{off && ` ${t('differs')}`}</Fact>
      <Fact name={t('fee')}><Money amount={l.fee} asset={l.asset} /></Fact>
      <Fact name={t('booked_at')}><When at={l.booked_at} /></Fact>
      <Fact name={t('became')}>{t.maybe(`outcome_${l.outcome}`) ?? l.outcome}</Fact>
      {l.remittance && <Fact name={t('remittance')}>{l.remittance}</Fact>}
      {l.statement && <Fact name={t('statement')}>{l.statement}</Fact>}
    </dl>
  );
}

function Suggested({ b }: { b: BreakOf }) {
  const t = useWords(words);
  const s = b.suggestion;
  return (
    <Panel title={t('suggested')} right={<State tone={s.confidence === 'certain' ? 'good' : s.confidence === 'likely' ? 'info' : 'wait'}>{t(`sure_${s.confidence}`)}</State>}>
      <Text mb="sm">{s[t.lang]}</Text>
      <Text size="sm" c="dimmed" mb="sm">{t('suggested_why', { action: t.maybe(`action_${s.action}`) ?? s.action, transition: s.transition ?? '—' })}</Text>
      {(s.legs ?? []).map((l, i) => (
        <TAccounts key={i} debit={{ name: l.debit }} credit={{ name: l.credit }} amount={l.amount} asset={l.asset} says={{ out: t('t_out'), in: t('t_in'), after: t('t_after'), zero: t('t_zero') }} />
      ))}
    </Panel>
  );
}

const codes = ['channel_corrected', 'posted', 'recovered', 'written_off', 'fee_accepted', 'timing', 'test', 'not_ours', 'other'] as const;

/** link is how a compensation names this break. */
const linkOf = (b: BreakOf) => `break ${b.id}`;

/** Desk is where people act: give it to somebody, propose what heals it, close it. */
function Desk({ b }: { b: BreakOf }) {
  const t = useWords(words);
  const { session } = useSession();
  const named = usePay<List<Approval>>(`/v1/approvals?break=${b.id}&limit=100`, { every: 4_000 });
  const about = usePay<List<Approval>>(b.payment ? `/v1/approvals?payment=${b.payment}&limit=100` : null, { every: 4_000 });
  const assigned = (about.data?.data ?? []).filter((a) => a.kind === 'assign_inbound');
  const of = [...(named.data?.data ?? []), ...assigned];
  const able = may(session, 'operator') && !session?.local;
  return (
    <Panel title={t('desk')}>
      {!able && <Text c="dimmed">{t('desk_who')}</Text>}
      {of.map((a) => <Proposal key={a.id} a={a} able={able} />)}
      {able && (
        <div className={classes.sides}>
          <Propose b={b} />
          <Assign b={b} />
        </div>
      )}
    </Panel>
  );
}

type Way = 'close' | 'compensate' | 'assign_inbound';

function Propose({ b }: { b: BreakOf }) {
  const t = useWords(words);
  const ours = b.sides?.ours;
  const asset = b.asset || ours?.asset || '';
  const inbound = b.suggestion.action === 'credit_owner';
  const ways: Way[] = inbound ? ['close', 'assign_inbound', 'compensate'] : ['close', 'compensate'];
  const [way, setWay] = useState<Way>('close');
  const [state, setState] = useState('resolved');
  const [code, setCode] = useState<string>(b.suggestion.action === 'claim_fee' ? 'fee_accepted' : 'channel_corrected');
  const [account, setAccount] = useState(ours?.account ?? '');
  const [payment, setPayment] = useState(b.payment ?? '');
  const [amount, setAmount] = useState(asset ? decimal(b.amount, asset) : '');
  const [reason, setReason] = useState('');
  const minor = asset ? minorOf(amount, asset) : undefined;
  const body = () => {
    switch (way) {
      case 'close':
        return { kind: 'close_break', parameters: { break: String(b.id), state, code } };
      case 'compensate':
        return { kind: 'compensate', parameters: { account, asset, amount: minor ?? '', link: linkOf(b), ...(b.payment ? { payment: b.payment } : {}) } };
      case 'assign_inbound':
        return { kind: 'assign_inbound', parameters: { payment, to: account, amount: minor ?? '' } };
    }
  };
  const propose = useDo(() => ({ path: '/api/pay/v1/approvals', body: { ...body(), reason } }), ['/api/pay/v1/approvals', '/api/pay/v1/recon']);
  const close = useDo(() => ({ path: `/api/pay/v1/recon/breaks/${b.id}/close`, body: { state, code, reason } }), ['/api/pay/v1/recon']);
  const ready = reason.trim() !== '' && (way === 'close' || (account !== '' && minor !== undefined && (way === 'compensate' || payment !== '')));
  return (
    <Stack gap="xs" component="form" onSubmit={(e) => { e.preventDefault(); if (ready) propose.mutate(); }}>
      <h3>{t('heal')}</h3>
      <Select size="xs" label={t('way')} data={ways.map((w) => ({ value: w, label: t(`way_${w}`) }))} value={way} allowDeselect={false} onChange={(v) => setWay((v ?? 'close') as Way)} />
      {way === 'close' ? (
        <Group grow gap="xs">
          <Select size="xs" label={t('as')} data={(['resolved', 'explained'] as const).map((s) => ({ value: s, label: t(`state_${s}`) }))} value={state} allowDeselect={false} onChange={(v) => setState(v ?? 'resolved')} />
          <Select size="xs" label={t('code')} data={codes.map((c) => ({ value: c, label: t(`code_${c}`) }))} value={code} allowDeselect={false} onChange={(v) => setCode(v ?? 'other')} />
        </Group>
      ) : (
        <>
          {way === 'assign_inbound' && <TextInput size="xs" label={t('inbound')} placeholder="pay_…" value={payment} onChange={(e) => setPayment(e.currentTarget.value.trim())} />}
          <TextInput size="xs" label={t('to_account')} placeholder="acct_…" value={account} onChange={(e) => setAccount(e.currentTarget.value.trim())} />
          <TextInput size="xs" label={`${t('amount')} (${asset})`} value={amount} error={amount !== '' && minor === undefined ? t('no_amount') : undefined} onChange={(e) => setAmount(e.currentTarget.value)} />
        </>
      )}
      <Textarea size="xs" label={t('reason')} autosize minRows={2} maxLength={500} value={reason} onChange={(e) => setReason(e.currentTarget.value)} />
      <Group gap="xs">
        <Button size="xs" type="submit" disabled={!ready} loading={propose.isPending}>{t('propose')}</Button>
        {way === 'close' && b.severity > 1 && <Button size="xs" variant="default" disabled={!ready} loading={close.isPending} onClick={() => close.mutate()}>{t('close_now')}</Button>}
      </Group>
      <Text size="sm" c="dimmed">{t(way === 'close' ? 'close_why' : 'post_why')}</Text>
      {propose.error && <Problem of={propose.error} />}
      {close.error && <Problem of={close.error} />}
    </Stack>
  );
}

function Assign({ b }: { b: BreakOf }) {
  const t = useWords(words);
  const [owner, setOwner] = useState('');
  const [reason, setReason] = useState('');
  const assign = useDo(() => ({ path: `/api/pay/v1/recon/breaks/${b.id}/assign`, body: { owner, reason } }), ['/api/pay/v1/recon']);
  return (
    <Stack gap="xs" component="form" onSubmit={(e) => { e.preventDefault(); assign.mutate(); }}>
      <h3>{t('give')}</h3>
      <TextInput size="xs" label={t('owner')} value={owner} maxLength={100} onChange={(e) => setOwner(e.currentTarget.value)} />
      <Textarea size="xs" label={t('reason')} autosize minRows={2} maxLength={500} value={reason} onChange={(e) => setReason(e.currentTarget.value)} />
      <Button size="xs" variant="default" type="submit" disabled={owner.trim() === '' || reason.trim() === ''} loading={assign.isPending} style={{ alignSelf: 'start' }}>{t('assign')}</Button>
      {assign.error && <Problem of={assign.error} />}
    </Stack>
  );
}
