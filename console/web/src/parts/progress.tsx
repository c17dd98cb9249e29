import { Group, Progress as Bar, Stack, Text } from '@mantine/core';
import { useRef, type ReactNode } from 'react';
import { useWords } from '../words/words';
import { useSpan } from './small';
import classes from './parts.module.css';

/** Progress of something long: how much, how fast, how long still. What is done and what
 * is left may say it in money too. */
export function Progress({ done, total, label, doneMoney, leftMoney }: { done: number; total: number; label?: ReactNode; doneMoney?: ReactNode; leftMoney?: ReactNode }) {
  const t = useWords();
  const span = useSpan();
  const began = useRef<{ at: number; done: number } | null>(null);
  began.current ??= { at: Date.now(), done };
  const seconds = (Date.now() - began.current.at) / 1000;
  const rate = seconds > 1 ? (done - began.current.done) / seconds : 0;
  const share = total > 0 ? Math.min(100, (100 * done) / total) : 0;
  return (
    <Stack gap={4}>
      {label && <Text size="sm" fw={600}>{label}</Text>}
      <Bar value={share} size="md" radius="sm" aria-label={typeof label === 'string' ? label : t('progress_of', { done, total })} />
      <Group gap="md" className={classes.figure}>
        <Text size="sm">{t('progress_of', { done, total })}</Text>
        {doneMoney && <Text size="sm">{doneMoney}</Text>}
        {leftMoney && <Text size="sm" className={classes.dim}>{leftMoney}</Text>}
        {rate > 0 && done < total && (
          <Text size="sm" className={classes.dim}>
            {t('progress_rate', { n: rate < 10 ? rate.toFixed(1) : Math.round(rate) })} · {t('progress_left', { time: span('for', (total - done) / rate) })}
          </Text>
        )}
      </Group>
    </Stack>
  );
}
