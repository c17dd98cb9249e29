import { Stack, Text } from '@mantine/core';
import { Ago, Id, State, When, useSpan, useTick } from '../../parts';
import { useWords } from '../../words/words';
import classes from './payments.module.css';
import type { Trail } from './types';
import words from './words.json';

/** Next is what happens by itself and when, and who is at it. */
export function Next({ trail }: { trail: Trail }) {
  const t = useWords(words);
  const tick = useTick();
  const span = useSpan();
  const n = trail.next;
  const open = trail.cases.filter((c) => c.state === 'open');
  const left = n ? (new Date(n.at).getTime() - tick) / 1000 : 0;
  return (
    <Stack gap="sm">
      {n ? (
        <div>
          <Text size="xl" fw={650} className={classes.countdown}>{left > 0 ? span('in', left) : t('due_now')}</Text>
          <Text fw={600}>{t.maybe(`next_${n.what}`) ?? n.what}</Text>
          <Text size="sm" c="dimmed">{t('next_hop', { hop: t.maybe(`hop_${n.hop}`) ?? n.hop })} · <When at={n.at} age={false} /></Text>
          {n.checks > 0 && <Text size="sm" c="dimmed">{t('checked', { n: n.checks })} <When at={n.last_checked_at} /></Text>}
          <Text size="sm" mt={6}>{n.late ? <State tone="wait">{t('late_since')} <When at={n.deadline} /></State> : <>{t('leaves_by')} <When at={n.deadline} /></>}</Text>
        </div>
      ) : (
        <div>
          <Text fw={600}>{t('next_none')}</Text>
          <Text size="sm" c="dimmed">{t('final_since')} <When at={trail.final_at} /></Text>
        </div>
      )}
      {open.length > 0 ? (
        open.map((c) => (
          <div key={c.number}>
            <State tone={new Date(c.deadline).getTime() < tick ? 'bad' : 'wait'}>{t('case')} <Id id={c.number} whole link={false} /></State>
            <Text size="sm">{t('case_says', { owner: c.owner, kind: t.maybe(`case_${c.kind}`) ?? c.kind })} <When at={c.deadline} /></Text>
          </div>
        ))
      ) : (
        <Text size="sm" c="dimmed">{trail.cases.length > 0 ? <>{t('cases_closed', { n: trail.cases.length })} <Ago at={trail.cases[0]!.opened_at} /></> : t('cases_none')}</Text>
      )}
    </Stack>
  );
}
