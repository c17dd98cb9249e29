import { SegmentedControl, ScrollArea } from '@mantine/core';
import { useEffect } from 'react';
import { useLook, useParam, usePay, useSession } from '../../data';
import { Sentence, Title, Twin } from '../../parts';
import { useWords } from '../../words/words';
import { Answers } from './Answers';
import { Errors, Events, Requests, type Operation } from './Catalogues';
import { Keys, type Key } from './Keys';
import { Banks } from './Banks';
import { Webhooks, type Hook } from './Webhooks';
import words from './words.json';

const tabs = ['keys', 'webhooks', 'answers', 'requests', 'events', 'errors', 'sandbox'] as const;
type Tab = (typeof tabs)[number];

/** Developers is for who writes against the API: keys, endpoints and what they were
 * told, every request as code, what is told and what can go wrong. */
export default function Developers() {
  const t = useWords(words);
  const { session } = useSession();
  const [asked, setTab] = useParam('tab', 'keys');
  const shown = tabs.filter((x) => x !== 'sandbox' || session?.sandbox);
  const tab: Tab = shown.find((x) => x === asked) ?? 'keys';
  const keys = usePay<{ data: Key[] }>('/v1/keys', { every: 15_000 });
  const hooks = usePay<{ data: Hook[] }>('/v1/webhooks', { every: 10_000 });
  const operations = useLook<Operation[]>(tab === 'requests' ? '/developers/operations' : null);
  useEffect(() => {
    document.getElementById('developers-tab')?.scrollIntoView({ block: 'nearest' });
  }, [tab]);
  const valid = keys.data?.data.filter((k) => !k.revoked_at).length;
  const broken = hooks.data?.data.filter((h) => h.state === 'disabled' || h.failing_since) ?? [];
  return (
    <>
      <Title right={<Twin cmd={tab === 'webhooks' ? 'moneta webhook list' : tab === 'answers' ? 'moneta key requests' : 'moneta key list'} />}>{t('title')}</Title>
      {valid === undefined ? (
        <Sentence tone={keys.problem ? 'wait' : 'idle'}>{t(keys.problem ? 'pay_down' : 'looking')}</Sentence>
      ) : broken.length > 0 ? (
        <Sentence tone="wait" age={hooks.age}>{t('some_fail', { n: broken.length, url: broken[0]?.url ?? '' })}</Sentence>
      ) : (
        <Sentence tone="good" age={keys.age}>{t('all_well', { keys: valid, hooks: hooks.data?.data.filter((h) => h.state === 'active').length ?? 0 })}</Sentence>
      )}
      <ScrollArea type="never" mb="md" id="developers-tab">
        <SegmentedControl aria-label={t('title')} value={tab} onChange={(v) => setTab(v, true)} data={shown.map((x) => ({ value: x, label: t(`tab_${x}`) }))} />
      </ScrollArea>
      {tab === 'keys' && <Keys all={keys} session={session} />}
      {tab === 'webhooks' && <Webhooks all={hooks} session={session} />}
      {tab === 'answers' && <Answers />}
      {tab === 'requests' && <Requests all={operations} />}
      {tab === 'events' && <Events />}
      {tab === 'errors' && <Errors />}
      {tab === 'sandbox' && <Banks session={session} />}
    </>
  );
}
