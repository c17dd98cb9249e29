// One range of time for all screens that show what was. It is in the address: "the last
// hour" moves on with now, from and to stand still. A link that is shared stands still
// always (shareLink), so that whoever opens it sees what was seen.
import { Group, NativeSelect, TextInput } from '@mantine/core';
import { useMemo } from 'react';
import { rangeSeconds, useParam, useSetParams } from '../data';
import { useWords } from '../words/words';
import { useSpan } from './small';
import { useTick } from './tick';

/** Range is what was chosen, in milliseconds; a side that is open is undefined. */
export type Range = {
  from?: number;
  to?: number;
  /** Something was chosen. */
  narrow: boolean;
  /** holds reports whether a moment, or the time from it until another, lies in it. */
  holds: (at: string | number, until?: string | number) => boolean;
};

/** A range that follows now moves in steps: lists are not made anew each second. */
const step = 5000;

/** useRange is the range of the address; what is not written there is everything. */
export function useRange(): Range {
  const [last] = useParam('range');
  const [a] = useParam('from');
  const [b] = useParam('to');
  const seconds = rangeSeconds(last);
  const tick = useTick();
  const now = seconds === undefined ? 0 : Math.floor(tick / step) * step;
  return useMemo(() => {
    const from = seconds === undefined ? moment(a) : now - seconds * 1000;
    const to = seconds === undefined ? moment(b) : undefined;
    const holds = (at: string | number, until: string | number = at) => (to === undefined || new Date(at).getTime() <= to) && (from === undefined || new Date(until).getTime() >= from);
    return { from, to, narrow: from !== undefined || to !== undefined, holds };
  }, [seconds, a, b, now]);
}

function moment(text: string): number | undefined {
  const ms = text === '' ? Number.NaN : new Date(text).getTime();
  return Number.isNaN(ms) ? undefined : ms;
}

/** local is how an input of the browser writes a moment: in the reader's zone, to the
 * minute. */
function local(ms: number | undefined): string {
  if (ms === undefined) return '';
  const d = new Date(ms);
  return new Date(ms - d.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** RangePick chooses it. The spans are those for which the screen has something: where a
 * quarter of an hour is remembered, nobody is offered a day, nor days to choose from. A label
 * is shown only where the fields beside it have one. */
export function RangePick({ spans, days = true, label }: { spans: readonly string[]; days?: boolean; label?: string }) {
  const t = useWords();
  const say = useSpan();
  const [last] = useParam('range');
  const [a] = useParam('from');
  const [b] = useParam('to');
  const set = useSetParams();
  const range = useRange();
  const own = last === 'own' || (rangeSeconds(last) === undefined && (a !== '' || b !== ''));
  const known = spans.includes(last) || last === 'own' ? spans : last === '' ? spans : [...spans, last];
  const pick = (to: string) => set(to === 'own' ? { range: to } : { range: to, from: '', to: '' });
  const moved = (name: 'from' | 'to') => (e: { currentTarget: { value: string } }) => {
    const ms = moment(e.currentTarget.value);
    set({ range: '', from: a, to: b, [name]: ms === undefined ? '' : new Date(ms).toISOString() });
  };
  return (
    <Group gap="xs" wrap="wrap" align="end" role="group" aria-label={label ?? t('range')}>
      <NativeSelect
        size="xs"
        label={label}
        aria-label={label ? undefined : t('range')}
        value={own ? 'own' : last}
        onChange={(e) => pick(e.currentTarget.value)}
        data={[
          { value: '', label: t('range_all') },
          ...known.filter((s) => rangeSeconds(s) !== undefined).map((s) => ({ value: s, label: t('range_last', { span: say('for', rangeSeconds(s) ?? 0) }) })),
          ...(days || own ? [{ value: 'own', label: t('range_own') }] : []),
        ]}
      />
      {own && (
        <>
          <TextInput size="xs" type="datetime-local" aria-label={t('range_from')} value={local(range.from)} onChange={moved('from')} />
          <TextInput size="xs" type="datetime-local" aria-label={t('range_to')} value={local(range.to)} onChange={moved('to')} />
        </>
      )}
    </Group>
  );
}
