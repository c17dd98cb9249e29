import { SegmentedControl, Stack, Text } from '@mantine/core';
import { useState } from 'react';
import { usePay } from '../../data';
import { Shown, When } from '../../parts';
import { useWords, type Lang } from '../../words/words';
import classes from './payments.module.css';
import type { View } from './types';
import words from './words.json';

/** Preview is what the holder sees, word for word, in either language. */
export function Preview({ id }: { id: string }) {
  const t = useWords(words);
  const [lang, setLang] = useState<Lang>(t.lang);
  const view = usePay<View>(`/v1/payments/${id}/view?lang=${lang}`, { every: 3000, keep: true });
  return (
    <Stack gap="sm">
      <SegmentedControl size="xs" value={lang} onChange={(v) => setLang(v as Lang)} data={[{ value: 'en', label: 'English' }, { value: 'zh', label: '中文' }]} aria-label={t('holder_lang')} style={{ alignSelf: 'start' }} />
      <Shown of={view} rows={5}>
        {(v) => (
          <div lang={lang === 'zh' ? 'zh-Hans' : 'en'} className={classes.holder}>
            <Text fw={650} size="lg">{v.status.texts.headline}</Text>
            <ol className={classes.steps}>
              {v.steps.map((s) => (
                <li key={s.code} data-state={s.state}>
                  <i aria-hidden />
                  <span>{s.label}</span>
                  <b className={classes.out}>{t(`step_${s.state}`)}</b>
                </li>
              ))}
            </ol>
            <Text fw={600}>{v.status.texts.money}</Text>
            <Text>{v.status.texts.next}</Text>
            <Text className={v.status.do_not_retry && !v.final_at ? classes.again : undefined}>{v.status.texts.advice}</Text>
            {v.status.notice && <Text className={classes.again}>{v.status.notice.text}</Text>}
            <details className={classes.story}>
              <summary>{t('story', { n: v.story.length })}</summary>
              <ol className={classes.moves}>
                {v.story.map((l, i) => (
                  <li key={i}>
                    <When at={l.at} age={false} />
                    <Text size="sm">{l.text}</Text>
                  </li>
                ))}
              </ol>
            </details>
          </div>
        )}
      </Shown>
    </Stack>
  );
}
