import { Button, Checkbox, Group, Stack, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import { may, useDo, useSession } from '../../data';
import { Go, Panel, Problem, State, Twin } from '../../parts';
import { useWords } from '../../words/words';
import classes from './room.module.css';
import type { FollowUp, OpenFollowUp, Room } from './types';
import words from './words.json';

type Change = { id?: string; text?: string; owner?: string; due?: string; done?: boolean };

/** FollowUps is what is to be done because of an incident: what its entries ask for, and
 * what people add; each is somebody's, by a day. */
export function FollowUps({ r, again, mayAct }: { r: Room; again: () => void; mayAct: boolean }) {
  const t = useWords(words);
  const say = useDo<unknown, Change>((c) => ({ path: `/api/look/incidents/${encodeURIComponent(r.id)}/follow-ups?lang=${t.lang}`, body: c }), ['/api/look/incidents']);
  const [asking, setAsking] = useState<string | null>(null);
  const send = (c: Change) => say.mutate(c, { onSuccess: () => { setAsking(null); again(); } });
  return (
    <Stack gap="md" data-follow-ups>
      {say.error && <Problem of={say.error} />}
      <div className={classes.three}>
        {(['short', 'mid', 'long', 'added'] as const).map((k) => (
          <Panel
            key={k}
            title={t(`todo_${k}`)}
            right={k === 'added' && mayAct && asking !== 'new' && <Button size="compact-sm" variant="default" onClick={() => setAsking('new')}>{t('todo_add')}</Button>}
          >
            {r.todo[k].length === 0 && asking !== 'new' && <Text size="sm" c="dimmed">{t('todo_none')}</Text>}
            <ul className={classes.todo}>
              {r.todo[k].map((u) => (
                <li key={u.id} data-follow-up={u.id}>
                  <Checkbox size="xs" checked={!!u.done} disabled={!mayAct || say.isPending} onChange={(e) => send({ id: u.id, done: e.currentTarget.checked })} aria-label={t('todo_done', { what: u.text })} />
                  <div>
                    <Text size="sm" td={u.done ? 'line-through' : undefined}>{u.text}</Text>
                    {asking === u.id ? (
                      <Form u={u} busy={say.isPending} send={send} cancel={() => setAsking(null)} />
                    ) : (
                      <Group gap={8}>
                        <Whose u={u} />
                        {mayAct && <button type="button" className={classes.plainLink} onClick={() => setAsking(u.id)} aria-label={t('todo_give_what', { what: u.text })}>{t(u.owner ? 'todo_change' : 'todo_give')}</button>}
                      </Group>
                    )}
                  </div>
                </li>
              ))}
            </ul>
            {k === 'added' && asking === 'new' && <Form busy={say.isPending} send={send} cancel={() => setAsking(null)} />}
            {k === 'added' && <Twin cmd={`moneta incident todo ${r.id} --add TEXT --owner NAME --due 2026-12-31`} />}
          </Panel>
        ))}
      </div>
    </Stack>
  );
}

function Whose({ u }: { u: FollowUp }) {
  const t = useWords(words);
  return (
    <>
      <span className={classes.small}>{u.owner ? t('todo_owner', { name: u.owner }) : t('todo_nobody')}</span>
      {u.due && (u.overdue ? <State tone="wait">{t('todo_overdue', { day: u.due })}</State> : <span className={classes.small}>{t('todo_due', { day: u.due })}</span>)}
    </>
  );
}

/** Form gives a follow-up to somebody, or adds one. */
function Form({ u, busy, send, cancel }: { u?: FollowUp; busy: boolean; send: (c: Change) => void; cancel: () => void }) {
  const t = useWords(words);
  const { session } = useSession();
  const [text, setText] = useState('');
  const [was] = useState({ owner: u?.owner ?? '', due: u?.due ?? '' }); // when it was opened: what others changed meanwhile stays
  const [owner, setOwner] = useState(u?.owner ?? (session?.local ? '' : (session?.name ?? '')));
  const [due, setDue] = useState(was.due);
  return (
    <form onSubmit={(e) => (e.preventDefault(), send(u ? { id: u.id, ...(owner !== was.owner && { owner }), ...(due !== was.due && { due }) } : { text, owner, due }))}>
      <Stack gap={6} mt={4}>
        {!u && <TextInput size="xs" label={t('todo_what')} value={text} onChange={(e) => setText(e.currentTarget.value)} maxLength={500} autoFocus />}
        <Group gap={6} align="end">
          <TextInput size="xs" label={t('todo_who')} value={owner} onChange={(e) => setOwner(e.currentTarget.value)} maxLength={60} w={130} autoFocus={!!u} />
          <TextInput size="xs" type="date" label={t('todo_by')} value={due} onChange={(e) => setDue(e.currentTarget.value)} w={140} />
        </Group>
        <Group gap={6}>
          <Button size="compact-sm" type="submit" loading={busy} disabled={!u && !text.trim()}>{t('todo_keep')}</Button>
          <Button size="compact-sm" variant="subtle" color="gray" onClick={cancel}>{t('cancel')}</Button>
        </Group>
      </Stack>
    </form>
  );
}

const shownMost = 12;

/** StillToDo is what people wrote down after incidents and nobody has done, the first due
 * first. */
export function StillToDo({ all, out = 0 }: { all: OpenFollowUp[]; out?: number }) {
  const t = useWords(words);
  const { session } = useSession();
  const done = useDo<unknown, OpenFollowUp>((u) => ({ path: `/api/look/incidents/${encodeURIComponent(u.incident)}/follow-ups?lang=${t.lang}`, body: { id: u.id, done: true } }), ['/api/look/incidents']);
  if (all.length === 0 && out === 0) return null;
  const late = all.filter((u) => u.overdue).length;
  return (
    <Panel title={t('still')} right={<State tone={late > 0 ? 'wait' : 'idle'}>{late > 0 ? t('still_late', { n: all.length, late }) : t('still_n', { n: all.length })}</State>}>
      {done.error && <Problem of={done.error} />}
      <ul className={classes.todo} data-still>
        {all.slice(0, shownMost).map((u) => (
          <li key={u.incident + u.id}>
            <Checkbox size="xs" checked={false} disabled={!may(session, 'operator') || done.isPending} onChange={() => done.mutate(u)} aria-label={t('todo_done', { what: u.text })} />
            <div>
              <Text size="sm">{u.text}</Text>
              <Group gap={8}>
                <Go to={`/incidents/${u.incident}`}>{u.incident}</Go>
                <Whose u={u} />
              </Group>
            </div>
          </li>
        ))}
      </ul>
      {all.length > shownMost && <Text size="sm" c="dimmed" mt="xs">{t('still_more', { n: all.length - shownMost })}</Text>}
      {out > 0 && <Text size="sm" c="dimmed" mt="xs">{t('still_out', { n: out })}</Text>}
      <Twin cmd="moneta incident todo" />
    </Panel>
  );
}
