import { Button, Code, Group, Stack, Table, Text, Textarea, TextInput } from '@mantine/core';
import { useEffect, useRef, useState, type ReactNode } from 'react';
import { actSentence, ask, freshKey, gaveUp, may, passkeysHere, sayYes, useLive, usePay, useSession, type Session } from '../../data';
import { Ago, Empty, Go, Id, Panel, Plain, Problem, Sentence, Shown, State, Title, Twin, When, Wide, type Tone } from '../../parts';
import { useQueryClient } from '@tanstack/react-query';
import { useWords } from '../../words/words';
import { honest, statementOf, type Approval, type Waiting } from './action';
import words from './words.json';

type List = { data: Approval[] };
type Proof = { code?: string; assertion?: string };

/** Approvals is everything that waits for a second person, in the pay plane and with the
 * doctor, and what became of what did. */
export default function Approvals() {
  const t = useWords(words);
  const { session } = useSession();
  const { now } = useLive();
  const proposed = usePay<List>('/v1/approvals?state=proposed&limit=100', { every: 3000 });
  const approved = usePay<List>('/v1/approvals?state=approved&limit=100', { every: 3000 });
  const done = usePay<List>('/v1/approvals?limit=30', { every: 10_000 });
  const acts = (now?.waiting ?? []) as Waiting[];
  const mine = (proposed.data?.data ?? []).filter((a) => a.maker === session?.name);
  const others = (proposed.data?.data ?? []).filter((a) => a.maker !== session?.name);
  const ready = approved.data?.data ?? [];
  const unknown = proposed.data === undefined;
  return (
    <>
      <Title right={<Twin cmd="moneta approve list --state proposed" />}>{t('title')}</Title>
      {unknown && acts.length === 0 ? (
        <Sentence tone={proposed.problem ? 'wait' : 'idle'}>{t(proposed.problem ? 'pay_waits' : 'looking')}</Sentence>
      ) : acts.length + others.length > 0 ? (
        <Sentence tone="wait">{t('wait_for_you', { n: acts.length + others.length })}</Sentence>
      ) : (
        <Sentence tone="good" age={proposed.age}>{t('nothing_waits')}</Sentence>
      )}
      {session?.offline && <Sentence tone="wait">{t('offline')}</Sentence>}
      {session?.local && <Text size="sm" mb="md">{t('local_reads')} <Go to="/people">{t('local_do')}</Go></Text>}
      <Stack gap="md">
        {acts.map((w) => (
          <ActCard key={w.act.id} w={w} session={session} />
        ))}
        <Shown of={proposed}>
          {() => (
            <>
              {others.map((a) => (
                <Card key={a.id} a={a} session={session} />
              ))}
              {mine.map((a) => (
                <Card key={a.id} a={a} session={session} />
              ))}
            </>
          )}
        </Shown>
        {ready.map((a) => (
          <Card key={a.id} a={a} session={session} />
        ))}
        {!unknown && acts.length + others.length + mine.length + ready.length === 0 && (
          <Panel>
            <Empty title={t('none')} tone="good">{t('none_why')}</Empty>
          </Panel>
        )}
        <Panel title={t('lately')}>
          <Shown of={done}>{(l) => <Lately all={l.data.filter((a) => a.state !== 'proposed' && a.state !== 'approved')} />}</Shown>
        </Panel>
      </Stack>
    </>
  );
}

const tones: Record<Approval['state'], Tone> = { proposed: 'wait', approved: 'info', used: 'good', rejected: 'bad', expired: 'idle', withdrawn: 'idle' };

function Lately({ all }: { all: Approval[] }) {
  const t = useWords(words);
  if (all.length === 0) return <Empty title={t('lately_none')}>{t('lately_why')}</Empty>;
  return (
    <Wide label={t('lately')} least={640}>
      <Table verticalSpacing={6}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">{t('what')}</Table.Th>
            <Table.Th scope="col">{t('became')}</Table.Th>
            <Table.Th scope="col">{t('people')}</Table.Th>
            <Table.Th scope="col">{t('when')}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {all.map((a) => (
            <Table.Tr key={a.id}>
              <Table.Td>
                {a.words[t.lang] || a.kind} <Id id={a.id} link={false} />
                {a.note && <Text size="sm" c="dimmed">{t('said', { who: a.checker ?? '', note: a.note })}</Text>}
              </Table.Td>
              <Table.Td>
                <State tone={a.outcome === 'refused' ? 'bad' : tones[a.state]}>{t(`state_${a.outcome === 'refused' ? 'refused' : a.state}`)}</State>
                {a.result && <Text size="sm" c="dimmed">{a.result}</Text>}
              </Table.Td>
              <Table.Td>{[a.maker, a.endorser, a.checker, a.used_by].filter(Boolean).join(' → ')}</Table.Td>
              <Table.Td><When at={a.used_at ?? a.checked_at ?? a.made_at} /></Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Wide>
  );
}

/** One card has its facts, who may say what of it, and two keys: a and r. */
function Frame({ label, children, onKey }: { label: string; children: ReactNode; onKey: (key: string) => void }) {
  return (
    <article
      aria-label={label}
      tabIndex={0}
      onKeyDown={(e) => {
        if (e.target === e.currentTarget && (e.key === 'a' || e.key === 'r')) {
          e.preventDefault();
          onKey(e.key);
        }
      }}
    >
      <Panel>{children}</Panel>
    </article>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <Table.Tr>
      <Table.Th scope="row" style={{ width: 150, verticalAlign: 'top', fontWeight: 400 }}>{name}</Table.Th>
      <Table.Td style={{ overflowWrap: 'anywhere', whiteSpace: 'pre-line' }}>{children}</Table.Td>
    </Table.Tr>
  );
}

function Card({ a, session }: { a: Approval; session: Session | undefined }) {
  const t = useWords(words);
  const client = useQueryClient();
  const [open, setOpen] = useState<'' | 'approve' | 'reject'>('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>(null);
  const [true_, setTrue] = useState<boolean>();
  useEffect(() => {
    honest(a).then(setTrue, () => setTrue(false));
  }, [a.hash, a.id]); // eslint-disable-line
  const own = a.maker === session?.name;
  const agreed = a.endorser !== undefined && a.endorser === session?.name;
  // Who has agreed as the first of two may still say no.
  const refuse = a.state === 'proposed' && !own && may(session, 'approver') && !session?.local && true_ === true;
  const can = refuse && !agreed;
  const send = async (verb: string, body?: unknown) => {
    setBusy(true);
    setProblem(null);
    try {
      await ask(`/api/pay/v1/approvals/${a.id}/${verb}`, { method: 'POST', body, headers: { 'Idempotency-Key': freshKey() } });
      setOpen('');
    } catch (e) {
      setProblem(gaveUp(e) ? new Error(t('gave_up')) : e);
    } finally {
      setBusy(false);
      void client.invalidateQueries({ predicate: (q) => String(q.queryKey[1]).startsWith('/api/pay/v1/approvals') });
    }
  };
  const text = a.words[t.lang] || a.kind;
  // Who approves two alike moves money twice: show what else is open on the payment.
  const same = usePay<List>(a.parameters.payment ? `/v1/approvals?payment=${a.parameters.payment}&limit=100` : null, { every: 4_000 });
  const beside = (same.data?.data ?? []).filter((b) => b.id !== a.id && (b.state === 'proposed' || b.state === 'approved' || (b.state === 'used' && !b.outcome)));
  return (
    <Frame label={text} onKey={(k) => (k === 'a' ? can && setOpen('approve') : refuse && setOpen('reject'))}>
      <Stack gap="sm">
        <Group justify="space-between" align="start" wrap="nowrap">
          <Text fw={600} style={{ whiteSpace: 'pre-line' }}>{text}</Text>
          <State tone={tones[a.state]}>{a.service && a.state === 'proposed' ? t(a.endorser ? 'state_one' : 'state_two') : t(`state_${a.state}`)}</State>
        </Group>
        <Table verticalSpacing={4} withRowBorders={false}>
          <Table.Tbody>
            {Object.keys(a.parameters).sort().map((k) => (
              <Fact key={k} name={k}><Code>{a.parameters[k]}</Code></Fact>
            ))}
            <Fact name={t('reason')}>{a.reason}</Fact>
            <Fact name={t('maker')}>{a.maker}, <Ago at={a.made_at} />{a.service && <Text size="sm" c="dimmed">{t('machine')}</Text>}</Fact>
            {a.endorser && <Fact name={t('endorser')}>{a.endorser}{a.endorsed_at && <>, <Ago at={a.endorsed_at} /></>}</Fact>}
            {a.checker && <Fact name={t('checker')}>{a.checker} {a.note && `(${a.note})`}</Fact>}
            <Fact name={t('expires')}><When at={a.expires_at} /></Fact>
            <Fact name={t('hash')}>
              <Id id={a.hash} link={false} /> {true_ === true ? <State tone="good">{t('hash_true')}</State> : true_ === false ? <State tone="bad">{t('hash_false')}</State> : null}
            </Fact>
          </Table.Tbody>
        </Table>
        {beside.length > 0 && (
          <Text size="sm" role="note">
            <State tone="wait">{t('beside')}</State>{' '}
            {beside.map((b) => <span key={b.id}>{b.words[t.lang] || b.kind} <Go to={`/approvals?id=${b.id}`}>{b.id}</Go>. </span>)}
          </Text>
        )}
        {problem !== null && <Problem of={problem} />}
        {a.state === 'proposed' && own && <Text size="sm" c="dimmed">{t('own')}</Text>}
        {a.state === 'proposed' && agreed && <Text size="sm" c="dimmed">{t('agreed')}</Text>}
        {a.state === 'proposed' && !own && !may(session, 'approver') && <Text size="sm" c="dimmed">{t('not_approver')}</Text>}
        {open === '' ? (
          <Group gap="sm">
            {can && <Button onClick={() => setOpen('approve')}>{t('approve')}</Button>}
            {refuse && <Button variant="default" onClick={() => setOpen('reject')}>{t('reject')}</Button>}
            {can && <Text size="sm" c="dimmed">{t('keys')}</Text>}
            {(a.state === 'proposed' || a.state === 'approved') && own && <Button variant="default" loading={busy} onClick={() => void send('withdraw')}>{t('withdraw')}</Button>}
            {a.state === 'approved' && may(session, 'operator') && !session?.local && true_ && (
              <Button loading={busy} onClick={() => void send('execute', { hash: a.hash })}>{t('execute')}</Button>
            )}
          </Group>
        ) : (
          <Judge
            session={session}
            yes={open === 'approve'}
            busy={busy}
            proves={open === 'approve'}
            text={statementOf(a.id, a.hash)}
            twin={`moneta approve ${open === 'approve' ? 'yes' : 'no'} ${a.id}`}
            onStop={() => { setOpen(''); setProblem(null); }}
            onFail={(e) => setProblem(gaveUp(e) ? new Error(t('gave_up')) : e)}
            onGo={(note, proof) => send(open, { hash: a.hash, ...(note ? { note } : {}), ...proof })}
          />
        )}
      </Stack>
    </Frame>
  );
}

/** Judge is the second click: a reason, and the person's proof that it is them. */
function Judge({ session, yes, busy, proves, text, twin, onGo, onStop, onFail }: {
  session: Session | undefined; yes: boolean; busy: boolean; proves: boolean; text: string; twin: string;
  onGo: (note: string, proof: Proof) => Promise<void>; onStop: () => void; onFail: (e: unknown) => void;
}) {
  const t = useWords(words);
  const [note, setNote] = useState('');
  const [code, setCode] = useState('');
  const [asking, setAsking] = useState(false);
  const byCode = proves && session?.method === 'totp';
  const first = useRef<HTMLTextAreaElement>(null);
  useEffect(() => first.current?.focus(), []);
  const go = async () => {
    let proof: Proof = {};
    if (byCode) proof = { code };
    else if (proves) {
      setAsking(true);
      try {
        proof = { assertion: await sayYes(text) };
      } catch (e) {
        onFail(e);
        return;
      } finally {
        setAsking(false);
      }
    }
    await onGo(note.trim(), proof);
  };
  const ready = (yes || note.trim() !== '') && (!byCode || /^\d{6}$/.test(code)) && (!proves || byCode || passkeysHere());
  return (
    <form
      onSubmit={(e) => { e.preventDefault(); if (ready) void go(); }}
      onKeyDown={(e) => e.key === 'Escape' && onStop()}
    >
      <Stack gap="sm">
        <Textarea
          ref={first} label={yes ? t('note') : t('why_not')} value={note} onChange={(e) => setNote(e.currentTarget.value)} maxLength={400} autosize minRows={1} required={!yes}
          onKeyDown={(e) => { if (e.key === 'Enter' && !e.shiftKey) { e.preventDefault(); if (ready) void go(); } }}
        />
        {byCode && <TextInput label={t('code')} value={code} onChange={(e) => setCode(e.currentTarget.value.trim())} inputMode="numeric" autoComplete="one-time-code" maxLength={6} w={160} />}
        {proves && session?.method === 'ed25519' && <Text size="sm">{t('by_key')} <Code>{twin}</Code></Text>}
        <Group gap="sm">
          <Button type="submit" loading={busy || asking} disabled={!ready} color={yes ? undefined : 'red'}>
            {!yes ? t('reject_now') : byCode || !proves ? t('approve_code') : t('approve_passkey')}
          </Button>
          <Plain onClick={onStop}>{t('stop')}</Plain>
        </Group>
      </Stack>
    </form>
  );
}

function ActCard({ w, session }: { w: Waiting; session: Session | undefined }) {
  const t = useWords(words);
  const [open, setOpen] = useState<'' | 'approve' | 'reject'>('');
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState<boolean>();
  const [problem, setProblem] = useState<unknown>(null);
  const own = w.act.by === session?.name;
  const can = !own && said === undefined && (session?.local || may(session, 'approver'));
  const go = async (reason: string, proof: Proof) => {
    setBusy(true);
    setProblem(null);
    try {
      await ask('/api/look/approvals', { method: 'POST', body: { act_id: w.act.id, hash: w.hash, agreed: open === 'approve', reason: reason || t('agreed_in_console'), ...proof } });
      setSaid(open === 'approve');
      setOpen('');
    } catch (e) {
      setProblem(e);
    } finally {
      setBusy(false);
    }
  };
  const label = t('act', { do: w.act.do, aim: w.act.aim ?? '' });
  return (
    <Frame label={label} onKey={(k) => can && setOpen(k === 'a' ? 'approve' : 'reject')}>
      <Stack gap="sm">
        <Group justify="space-between" align="start" wrap="nowrap">
          <Text fw={600}>{label}</Text>
          <State tone="wait">{t('doctor_waits', { n: w.needs ?? 1 })}</State>
        </Group>
        <Text>{w.act.why}</Text>
        <Table verticalSpacing={4} withRowBorders={false}>
          <Table.Tbody>
            <Fact name={t('blast')}>{t('blast_is', { reach: w.change.reach, n: w.change.items })}{w.change.value ? `, ${w.change.value}` : ''}</Fact>
            {w.change.before && <Fact name={t('before')}>{w.change.before}</Fact>}
            {w.change.after && <Fact name={t('after')}>{w.change.after}</Fact>}
            {Object.entries(w.act.with ?? {}).map(([k, v]) => <Fact key={k} name={k}><Code>{v}</Code></Fact>)}
            {w.change.rows && w.change.rows.length > 0 && <Fact name={t('rows')}>{w.change.rows.slice(0, 10).join('\n')}</Fact>}
            <Fact name={t('maker')}>{w.act.by}</Fact>
            <Fact name={t('incident')}><Id id={w.act.incident} /></Fact>
            {w.until && <Fact name={t('expires')}><When at={w.until} /></Fact>}
            <Fact name={t('hash')}><Id id={w.hash} link={false} /></Fact>
          </Table.Tbody>
        </Table>
        {problem !== null && <Problem of={problem} />}
        {own && <Text size="sm" c="dimmed">{t('own')}</Text>}
        {said !== undefined && <State tone={said ? 'good' : 'bad'}>{t(said ? 'you_agreed' : 'you_refused')}</State>}
        {can && open === '' && (
          <Group gap="sm">
            <Button onClick={() => setOpen('approve')}>{t('approve')}</Button>
            <Button variant="default" onClick={() => setOpen('reject')}>{t('reject')}</Button>
            <Text size="sm" c="dimmed">{t('keys')}</Text>
          </Group>
        )}
        {open !== '' && (
          <Judge
            session={session} yes={open === 'approve'} busy={busy} proves={!session?.local} text={actSentence(w.act.id, w.hash, open === 'approve')}
            twin={`moneta runbook approve ${w.act.id}`} onStop={() => { setOpen(''); setProblem(null); }}
            onFail={(e) => setProblem(gaveUp(e) ? new Error(t('gave_up')) : e)} onGo={go}
          />
        )}
      </Stack>
    </Frame>
  );
}
