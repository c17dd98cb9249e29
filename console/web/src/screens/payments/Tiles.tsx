import { Text } from '@mantine/core';
import { Mark, Sentence, type Tone } from '../../parts';
import { useWords } from '../../words/words';
import classes from './payments.module.css';
import type { Triage } from './types';
import words from './words.json';

const bad = ['two-live', 'breaks', 'orphan'];
const blind = ['unread', 'no-row'];

/** Tiles are the twelve questions that anybody asks of a payment in trouble, answered. */
export function Tiles({ of }: { of: Triage }) {
  const t = useWords(words);
  return (
    <>
      {of.verdict === 'unknown' && <Sentence tone="wait">{t('triage_blind')}</Sentence>}
      <ol className={classes.tiles}>
        {of.questions.map((q) => {
          const tone: Tone = bad.includes(q.code) ? 'bad' : q.then ? 'wait' : blind.includes(q.code) ? 'idle' : 'good';
          return (
            <li key={q.n} data-tone={tone}>
              <details>
                <summary>
                  <span className={classes.tileHead}>
                    <Mark tone={tone} />
                    <Text span size="xs" c="dimmed">{q.n}. {q.question}</Text>
                  </span>
                  <Text size="sm" fw={500} className={classes.answer}>{q.answer}</Text>
                </summary>
                {q.then && <Text size="sm" mt={6}>→ {q.then}</Text>}
                <Text size="xs" c="dimmed" mt={6} className={classes.mono}>{t('source')} {q.source}</Text>
              </details>
              {q.then && <Text size="xs" className={classes.then}>→ {q.then}</Text>}
            </li>
          );
        })}
      </ol>
    </>
  );
}
