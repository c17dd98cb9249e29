import { Button, Group, SegmentedControl, Text, Textarea } from '@mantine/core';
import { useState } from 'react';
import { useDo } from '../../data';
import { Panel, Problem, clockText } from '../../parts';
import { useWords } from '../../words/words';
import classes from './room.module.css';
import type { Room } from './types';
import words from './words.json';

const weighty = new Set(['opened', 'done', 'failed', 'waits', 'approved', 'told', 'proof', 'closed', 'note', 'follow_up', 'stage']);

/** Timeline is what was seen, said and done, the newest first, and a place for what people
 * want to say. */
export function Timeline({ r, again, mayAct }: { r: Room; again: () => void; mayAct: boolean }) {
  const t = useWords(words);
  const [all, setAll] = useState('weighty');
  const [text, setText] = useState('');
  const note = useDo<unknown, string>((said) => ({ path: `/api/look/incidents/${encodeURIComponent(r.id)}/notes`, body: { text: said } }), ['/api/look/incidents']);
  const shown = r.timeline.filter((e) => all === 'all' || weighty.has(e.what)).slice().reverse();
  return (
    <Panel
      title={t('timeline')}
      right={<SegmentedControl size="xs" value={all} onChange={setAll} data={[{ value: 'weighty', label: t('weighty') }, { value: 'all', label: t('everything') }]} />}
    >
      {mayAct && (
        <form
          onSubmit={(e) => {
            e.preventDefault();
            note.mutate(text.trim(), { onSuccess: () => { setText(''); again(); } });
          }}
        >
          <Textarea label={t('note')} placeholder={t('note_hint')} value={text} onChange={(e) => setText(e.currentTarget.value)} autosize minRows={1} maxRows={6} maxLength={4000} />
          <Group justify="flex-end" mt={6} mb="sm">
            <Button type="submit" size="compact-sm" disabled={!text.trim()} loading={note.isPending}>{t('note_send')}</Button>
          </Group>
          {note.error && <Problem of={note.error} />}
        </form>
      )}
      <ul className={classes.said} tabIndex={0} aria-label={t('timeline')}>
        {shown.map((e) => (
          <li key={e.seq}>
            <time dateTime={e.at} title={e.at}>{clockText(new Date(e.at), t.lang)}</time>
            <div className={classes.bubble} data-person={(e.what === 'note' || e.what === 'follow_up' || e.what === 'approved') && e.who !== 'doctor' ? '' : undefined} data-weighty={e.what === 'opened' || e.what === 'closed' || e.what === 'stage' ? '' : undefined}>
              {e.text}
            </div>
          </li>
        ))}
      </ul>
      {!!r.cut && <Text size="sm" c="dimmed" mt="xs">{t('cut', { n: r.cut })}</Text>}
    </Panel>
  );
}
