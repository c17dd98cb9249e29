import { Button, Group, Stack, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import { freshKey, may, useDo, useParam, usePay, type Result, type Session } from '../../data';
import { Ago, AsCurl, Empty, Id, Panel, Plain, Problem, Sheet, Shown, State, Twin, When, type Tone } from '../../parts';
import { useWords } from '../../words/words';
import { Endpoint } from './Endpoint';
import { Once } from './Once';
import words from './words.json';

export type Hook = {
  id: string; url: string; description: string; types: string[]; state: 'active' | 'disabled' | 'deleted';
  reason?: string; failing_since?: string; catching_up?: boolean; secret?: string; old_secret_until?: string; created_at: string;
};
type Delivery = { id: string; message_id: string; type: string; state: 'pending' | 'delivered' | 'given_up'; tries: number; next_at?: string; last_status?: number; last_error?: string; created_at: string };

const tone: Record<Delivery['state'], Tone> = { pending: 'wait', delivered: 'good', given_up: 'bad' };

/** Webhooks shows the endpoints and what each was told; who may makes, changes, stops and
 * tells them again. */
export function Webhooks({ all, session }: { all: Result<{ data: Hook[] }>; session: Session | undefined }) {
  const t = useWords(words);
  const [open, setOpen] = useParam('endpoint');
  const acts = may(session, 'operator') && !session?.local;
  const chief = may(session, 'admin') && !session?.local;
  const chosen = all.data?.data.find((h) => h.id === open);
  return (
    <Stack gap="md">
      <Panel title={t('endpoints')} right={<AsCurl call={{ method: 'POST', path: '/v1/webhooks', body: { url: 'https://shop.example/moneta', description: 'order system' } }} />}>
        <Shown of={all}>
          {(l) =>
            l.data.length === 0 ? (
              <Empty title={t('endpoints_none')}>{t(chief ? 'endpoints_none_admin' : 'endpoints_none_do')}</Empty>
            ) : (
              <Sheet
                label={t('endpoints')}
                least={640}
                rows={l.data}
                keyOf={(h) => h.id}
                picked={(h) => h.id === open}
                columns={[
                  { name: t('endpoint'), of: (h) => <><Text style={{ overflowWrap: 'anywhere' }}>{h.url}</Text><Text size="sm" c="dimmed">{h.description} <Id id={h.id} link={false} /></Text></> },
                  { name: t('state'), of: (h) => <HookState h={h} /> },
                  { name: t('made'), of: (h) => <Ago at={h.created_at} /> },
                  {
                    name: t('do'),
                    of: (h) => (
                      <Group gap="xs">
                        <Plain onClick={() => setOpen(open === h.id ? '' : h.id)}>{t(open === h.id ? 'hide' : 'look')}</Plain>
                        {acts && h.state === 'active' && <Act path={`/v1/webhooks/${h.id}/ping`} label={t('ping')} />}
                        {acts && h.state === 'disabled' && <Act path={`/v1/webhooks/${h.id}/enable`} label={t('enable')} />}
                      </Group>
                    ),
                  },
                ]}
              />
            )
          }
        </Shown>
      </Panel>
      {chosen && <Endpoint key={chosen.id} h={chosen} acts={acts} chief={chief} onGone={() => setOpen('')} />}
      {chosen && <Deliveries hook={open} acts={acts} />}
      <Panel title={t('endpoint_new')} right={<Twin cmd="moneta webhook add https://shop.example/moneta" />}>
        {chief ? <New onMade={setOpen} /> : <Text size="sm" c="dimmed">{t(session?.local ? 'endpoint_local' : 'endpoint_admin')}</Text>}
      </Panel>
    </Stack>
  );
}

function HookState({ h }: { h: Hook }) {
  const t = useWords(words);
  return (
    <>
      <State tone={h.state !== 'active' ? 'bad' : h.failing_since || h.catching_up ? 'wait' : 'good'}>
        {t(h.state === 'active' && h.failing_since ? 'state_failing' : h.state === 'active' && h.catching_up ? 'state_behind' : `hook_${h.state}`)}
      </State>
      {h.reason && <Text size="sm">{h.reason}</Text>}
      {h.failing_since && <Text size="sm" c="dimmed">{t('since')} <Ago at={h.failing_since} /></Text>}
    </>
  );
}

function New({ onMade }: { onMade: (id: string) => void }) {
  const t = useWords(words);
  const [url, setUrl] = useState('');
  const [description, setDescription] = useState('');
  const body = { url: url.trim(), description };
  const make = useDo<Hook>(() => ({ path: '/api/pay/v1/webhooks', body, headers: { 'Idempotency-Key': freshKey() } }), ['/api/pay/v1/webhooks']);
  return (
    <Stack gap="sm">
      <Text size="sm" c="dimmed">{t('endpoint_how')}</Text>
      {make.error && <Problem of={make.error} />}
      <form onSubmit={(e) => { e.preventDefault(); make.mutate(undefined, { onSuccess: (made) => { setUrl(''); setDescription(''); onMade(made.id); } }); }}>
        <Group align="end" gap="sm">
          <TextInput label={t('endpoint_url')} placeholder="https://shop.example/moneta" type="url" value={url} onChange={(e) => setUrl(e.currentTarget.value)} maxLength={2048} style={{ flex: '2 1 260px' }} />
          <TextInput label={t('endpoint_for')} value={description} onChange={(e) => setDescription(e.currentTarget.value)} maxLength={200} style={{ flex: '1 1 180px' }} />
          <Button type="submit" loading={make.isPending} disabled={url.trim() === ''}>{t('endpoint_make')}</Button>
        </Group>
      </form>
      {make.data?.secret && <Once secret={make.data.secret}>{t('endpoint_secret')}</Once>}
    </Stack>
  );
}

function Act({ path, label }: { path: string; label: string }) {
  const go = useDo<unknown>(() => ({ path: `/api/pay${path}`, headers: { 'Idempotency-Key': freshKey() } }), ['/api/pay/v1/webhooks']);
  return (
    <>
      <Button size="compact-sm" variant="default" loading={go.isPending} onClick={() => go.mutate()}>{label}</Button>
      {go.error && <Problem of={go.error} />}
    </>
  );
}

function Deliveries({ hook, acts }: { hook: string; acts: boolean }) {
  const t = useWords(words);
  const all = usePay<{ data: Delivery[] }>(`/v1/webhooks/${hook}/deliveries?limit=50`, { every: 5000 });
  return (
    <Panel title={t('deliveries')} right={<AsCurl call={{ path: `/v1/webhooks/${hook}/deliveries` }} />}>
      <Shown of={all}>
        {(l) =>
          l.data.length === 0 ? (
            <Empty title={t('deliveries_none')}>{t('deliveries_why')}</Empty>
          ) : (
            <Sheet
              label={t('deliveries')}
              least={680}
              rows={l.data}
              keyOf={(d) => d.id}
              columns={[
                { name: t('message'), of: (d) => <>{d.type} <Id id={d.message_id} link={false} /></> },
                {
                  name: t('state'),
                  of: (d) => (
                    <>
                      <State tone={tone[d.state]}>{t(d.state === 'pending' && d.tries === 0 ? 'delivery_first' : `delivery_${d.state}`)}</State>
                      <Text size="sm" c="dimmed">{[d.last_status, d.last_error].filter(Boolean).join(' ')}</Text>
                    </>
                  ),
                },
                { name: t('tries'), of: (d) => d.tries, right: true },
                { name: t('when'), of: (d) => <><When at={d.created_at} />{d.state === 'pending' && d.next_at && <Text size="sm" c="dimmed">{t('next')} <Ago at={d.next_at} /></Text>}</> },
                {
                  name: t('do'),
                  of: (d) => {
                    const path = `/v1/webhooks/${hook}/deliveries/${d.id}/redeliver`;
                    return acts ? <Act path={path} label={t('resend')} /> : <AsCurl call={{ method: 'POST', path }} />;
                  },
                },
              ]}
            />
          )
        }
      </Shown>
    </Panel>
  );
}
