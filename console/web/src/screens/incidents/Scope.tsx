import { Text } from '@mantine/core';
import { Panel, useSpan } from '../../parts';
import { useWords } from '../../words/words';
import { percent } from './Causes';
import type { Judged } from './types';
import words from './words.json';

/** ScopePicture shows who is affected: a hundred people, and of each group its share. */
export function ScopePicture({ a }: { a: Judged }) {
  const t = useWords(words);
  const span = useSpan();
  const s = a.scope;
  const sure = s.class !== 'unknown' && s.class !== 'too_few' && s.class !== '';
  const low = Math.round(100 * s.low);
  const high = Math.round(100 * s.high);
  const cohorts = (s.cohorts ?? []).slice(0, 4);
  return (
    <Panel title={t('scope')} right={a.triage_s !== undefined && <Text size="sm" c="dimmed">{t('triaged', { time: span('for', Math.max(0, a.triage_s)) })}</Text>}>
      <div style={{ display: 'flex', gap: 24, flexWrap: 'wrap', alignItems: 'flex-start' }}>
        {sure && (
          <svg role="img" aria-label={a.scope_text} width={152} height={152} viewBox="0 0 152 152" style={{ flex: 'none' }}>
            {Array.from({ length: 100 }, (_, i) => {
              const on = i < low ? 1 : i < high ? 0.45 : 0;
              return (
                <circle
                  key={i}
                  cx={8 + (i % 10) * 15}
                  cy={8 + Math.floor(i / 10) * 15}
                  r={5.2}
                  fill={on > 0 ? 'light-dark(#8a5200, #e9b35c)' : 'none'}
                  fillOpacity={on || 1}
                  stroke={on > 0 ? 'none' : 'light-dark(#c4cccc, #4a5557)'}
                  strokeWidth={1.4}
                />
              );
            })}
          </svg>
        )}
        <div style={{ flex: 1, minWidth: 220 }}>
          <Text fw={600} size="lg">{t.maybe(`scope_${s.class}`) ?? t('scope_unknown')}</Text>
          <Text size="sm">{a.scope_text}</Text>
          {cohorts.map((c) => (
            <div key={`${c.dimension}${c.value}`} style={{ marginTop: 10 }}>
              <Text size="sm"><strong>{c.dimension} {c.value}</strong> <Text span size="sm" c="dimmed">{t('cohort', { share: percent(c.share), rest: percent(c.rest_share) })}</Text></Text>
              <svg role="img" aria-label={t('cohort_label', { name: `${c.dimension} ${c.value}`, share: percent(c.share), rest: percent(c.rest_share) })} width="100%" height={16} viewBox="0 0 100 16" preserveAspectRatio="none">
                <rect x={0} y={1} width={100} height={6} rx={1} fill="light-dark(#eaeeee, #2a3234)" />
                <rect x={0} y={1} width={100 * c.share} height={6} rx={1} fill="light-dark(#8a5200, #e9b35c)" />
                <rect x={0} y={9} width={100} height={6} rx={1} fill="light-dark(#eaeeee, #2a3234)" />
                <rect x={0} y={9} width={100 * c.rest_share} height={6} rx={1} fill="light-dark(#8b9797, #76827f)" />
              </svg>
            </div>
          ))}
        </div>
      </div>
    </Panel>
  );
}
