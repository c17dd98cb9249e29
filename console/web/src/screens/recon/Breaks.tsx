import { Button, Group, Menu, SegmentedControl, Text } from '@mantine/core';
import { useState } from 'react';
import { amountText, ask, useParam, usePay, type Problem as ProblemError } from '../../data';
import { Ago, AsCurl, Empty, Go, Panel, Plain, Problem, Shown, State, Wide } from '../../parts';
import { useWords } from '../../words/words';
import { toneOf, type BreakOf, type List } from './model';
import classes from './recon.module.css';
import words from './words.json';

const page = 50;

/** Breaks is the table: filters and page are in the address. */
export function Breaks() {
  const t = useWords(words);
  const [state, setState] = useParam('state', 'open');
  const [cls, setClass] = useParam('class');
  const [channel] = useParam('channel');
  const [after, setAfter] = useParam('after');
  const filter = `state=${state}${cls ? `&class=${encodeURIComponent(cls)}` : ''}${channel ? `&channel=${encodeURIComponent(channel)}` : ''}`;
  const path = `/v1/recon/breaks?${filter}&limit=${page}${after ? `&after=${after}` : ''}`;
  const found = usePay<List<BreakOf>>(path, { every: 15_000, keep: true });
  return (
    <Panel
      title={t('breaks')}
      right={
        <Group gap="xs">
          <SegmentedControl
            size="xs"
            aria-label={t('state')}
            value={state}
            onChange={(v) => { setState(v); setAfter(''); }}
            data={(['open', 'explained', 'resolved', 'all'] as const).map((v) => ({ value: v, label: t(`state_${v}`) }))}
          />
          <Export filter={filter} />
          <AsCurl call={{ path }} />
        </Group>
      }
    >
      {cls && (
        <Text size="sm" mb="xs">
          {t('only_class', { class: cls })} <Plain onClick={() => setClass('')}>{t('show_all')}</Plain>
        </Text>
      )}
      <Shown of={found} rows={5}>
        {(l) =>
          l.data.length === 0 ? (
            <Empty tone={state === 'open' ? 'good' : 'idle'} title={t('no_such')}>{t('no_such_why')}</Empty>
          ) : (
            <>
              <Wide label={t('breaks')} least={820}>
                <table className={classes.table}>
                  <thead>
                    <tr>
                      <th scope="col">{t('number')}</th>
                      <th scope="col">{t('class')}</th>
                      <th scope="col">{t('channel')}</th>
                      <th scope="col" className={classes.num}>{t('value')}</th>
                      <th scope="col">{t('age')}</th>
                      <th scope="col">{t('owner')}</th>
                      <th scope="col">{t('heals')}</th>
                    </tr>
                  </thead>
                  <tbody>
                    {l.data.map((b) => (
                      <tr key={b.id}>
                        <td><Go to={`/recon/breaks/${b.id}`}>#{b.id}</Go></td>
                        <td><State tone={b.state === 'open' ? toneOf(b.severity) : 'good'}>{b.title[t.lang]}</State></td>
                        <td>{b.channel || '—'}</td>
                        <td className={classes.num}>{b.asset ? amountText(b.amount, b.asset) : '—'}</td>
                        <td><Ago at={b.opened_at} /></td>
                        <td>{t.maybe(`owner_${b.owner}`) ?? b.owner}</td>
                        <td>{b.state === 'open' ? (t.maybe(`action_${b.suggestion.action}`) ?? b.suggestion.action) : `${t(`state_${b.state}`)}: ${b.reason ?? ''}`}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </Wide>
              <Group gap="xs" mt="sm">
                {after && <Button size="compact-sm" variant="default" onClick={() => setAfter('')}>{t('newest')}</Button>}
                {l.has_more && l.next && <Button size="compact-sm" variant="default" onClick={() => setAfter(l.next ?? '', true)}>{t('older')}</Button>}
              </Group>
            </>
          )
        }
      </Shown>
    </Panel>
  );
}

/** Export fetches all pages that the filter lets through and saves one file. */
function Export({ filter }: { filter: string }) {
  const t = useWords(words);
  const [got, setGot] = useState<number | null>(null);
  const [problem, setProblem] = useState<ProblemError | null>(null);
  const save = (text: string, type: string, name: string) => {
    const url = URL.createObjectURL(new Blob([text], { type }));
    const a = document.createElement('a');
    a.href = url;
    a.download = name;
    a.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
  const csv = async () => save((await ask<string>(`/api/pay/v1/recon/breaks.csv?${filter}`, { within: 120_000, headers: { Accept: 'text/csv' } })).data, 'text/csv', 'breaks.csv');
  const json = async () => {
    const all: BreakOf[] = [];
    for (let after = ''; ; ) {
      const { data } = await ask<List<BreakOf>>(`/api/pay/v1/recon/breaks?${filter}&limit=500${after}`);
      all.push(...data.data);
      setGot(all.length);
      if (!data.has_more || !data.next) break;
      after = `&after=${data.next}`;
    }
    save(JSON.stringify(all, null, 1), 'application/json', 'breaks.json');
  };
  const run = (what: () => Promise<void>) => () => {
    setProblem(null);
    setGot(0);
    what().catch((e: unknown) => setProblem(e as ProblemError)).finally(() => setGot(null));
  };
  return (
    <>
      <Menu position="bottom-end" withinPortal>
        <Menu.Target>
          <Button size="compact-sm" variant="default" loading={got !== null}>{t('export')}</Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item onClick={run(csv)}>CSV</Menu.Item>
          <Menu.Item onClick={run(json)}>JSON</Menu.Item>
        </Menu.Dropdown>
      </Menu>
      {problem && <Problem of={problem} />}
    </>
  );
}
