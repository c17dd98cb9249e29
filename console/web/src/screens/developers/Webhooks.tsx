import { Button, Group, Stack, Table, Text } from '@mantine/core';
import { freshKey, may, useDo, useParam, usePay, type Result, type Session } from '../../data';
import { Ago, AsCurl, Empty, Id, Panel, Plain, Problem, Shown, State, When, Wide, type Tone } from '../../parts';
import { useWords } from '../../words/words';
import words from './words.json';

export type Hook = { id: string; url: string; description: string; types: string[]; state: 'active' | 'disabled' | 'deleted'; reason?: string; failing_since?: string; catching_up?: boolean; created_at: string };
type Delivery = { id: string; message_id: string; type: string; state: 'pending' | 'delivered' | 'given_up'; next_at?: string; last_status?: number; last_error?: string; created_at: string; [more: string]: unknown };

const tone: Record<Delivery['state'], Tone> = { pending: 'wait', delivered: 'good', given_up: 'bad' };

/** Webhooks shows the endpoints, what each was told, and tells it again. */
export function Webhooks({ all, session }: { all: Result<{ data: Hook[] }>; session: Session | undefined }) {
  const t = useWords(words);
  const [open, setOpen] = useParam('endpoint');
  const acts = may(session, 'operator') && !session?.local;
  return (
    <Stack gap="md">
      <Panel title={t('endpoints')} right={<AsCurl call={{ method: 'POST', path: '/v1/webhooks', body: { url: 'https://shop.example/moneta', description: 'order system' } }} />}>
        <Shown of={all}>
          {(l) =>
            l.data.length === 0 ? (
              <Empty title={t('endpoints_none')}>{t('endpoints_none_do')}</Empty>
            ) : (
              <Wide label={t('endpoints')} least={640}>
                <Table verticalSpacing={6}>
                  <Table.Thead>
                    <Table.Tr>
                      <Table.Th scope="col">{t('endpoint')}</Table.Th>
                      <Table.Th scope="col">{t('state')}</Table.Th>
                      <Table.Th scope="col">{t('made')}</Table.Th>
                      <Table.Th scope="col">{t('do')}</Table.Th>
                    </Table.Tr>
                  </Table.Thead>
                  <Table.Tbody>
                    {l.data.map((h) => (
                      <Table.Tr key={h.id}>
                        <Table.Td><Text style={{ overflowWrap: 'anywhere' }}>{h.url}</Text><Text size="sm" c="dimmed">{h.description} <Id id={h.id} link={false} /></Text></Table.Td>
                        <Table.Td>
                          <State tone={h.state !== 'active' ? 'bad' : h.failing_since ? 'wait' : 'good'}>{t(h.state === 'active' && h.failing_since ? 'state_failing' : `hook_${h.state}`)}</State>
                          {h.reason && <Text size="sm">{h.reason}</Text>}
                          {h.failing_since && <Text size="sm" c="dimmed">{t('since')} <Ago at={h.failing_since} /></Text>}
                        </Table.Td>
                        <Table.Td><Ago at={h.created_at} /></Table.Td>
                        <Table.Td>
                          <Group gap="xs">
                            <Plain onClick={() => setOpen(open === h.id ? '' : h.id)}>{t(open === h.id ? 'hide' : 'told')}</Plain>
                            {acts && h.state === 'active' && <Act path={`/v1/webhooks/${h.id}/ping`} label={t('ping')} />}
                            {acts && h.state === 'disabled' && <Act path={`/v1/webhooks/${h.id}/enable`} label={t('enable')} />}
                          </Group>
                        </Table.Td>
                      </Table.Tr>
                    ))}
                  </Table.Tbody>
                </Table>
              </Wide>
            )
          }
        </Shown>
      </Panel>
      {open !== '' && <Deliveries hook={open} acts={acts} />}
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
            <Wide label={t('deliveries')} least={680}>
              <Table verticalSpacing={4}>
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th scope="col">{t('message')}</Table.Th>
                    <Table.Th scope="col">{t('state')}</Table.Th>
                    <Table.Th scope="col">{t('when')}</Table.Th>
                    <Table.Th scope="col">{t('do')}</Table.Th>
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {l.data.map((d) => (
                    <Table.Tr key={d.id}>
                      <Table.Td>{d.type} <Id id={d.message_id} link={false} /></Table.Td>
                      <Table.Td>
                        <State tone={tone[d.state]}>{t(`delivery_${d.state}`)}</State>
                        <Text size="sm" c="dimmed">{[d.last_status, d.last_error].filter(Boolean).join(' ')}</Text>
                      </Table.Td>
                      <Table.Td><When at={d.created_at} />{d.state === 'pending' && d.next_at && <Text size="sm" c="dimmed">{t('next')} <Ago at={d.next_at} /></Text>}</Table.Td>
                      <Table.Td>{acts ? <Act path={`/v1/webhooks/${hook}/deliveries/${d.id}/redeliver`} label={t('resend')} /> : <AsCurl call={{ method: 'POST', path: `/v1/webhooks/${hook}/deliveries/${d.id}/redeliver` }} />}</Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            </Wide>
          )
        }
      </Shown>
    </Panel>
  );
}
