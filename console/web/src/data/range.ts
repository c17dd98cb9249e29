// A time range is part of the address: ?t=1h, or ?t=<from>~<to> with both in UTC.
import { useMemo } from 'react';
import { useParam } from './url';

export const spans = { '15m': 900, '1h': 3600, '6h': 21_600, '24h': 86_400, '7d': 604_800 } as const;
export type SpanName = keyof typeof spans;

export type Range = {
  /** Milliseconds. A range up to now moves with it: ask again when you look again. */
  from: number;
  to: number;
  /** Up to now; otherwise both ends stand. */
  live: boolean;
  /** As in the address. */
  text: string;
};

export function parseRange(text: string, fallback: SpanName, now = Date.now()): Range {
  if (text in spans) return { from: now - spans[text as SpanName] * 1000, to: now, live: true, text };
  const [a, b] = text.split('~').map((s) => Date.parse(s));
  if (a !== undefined && b !== undefined && a < b) return { from: a, to: b, live: false, text };
  return { from: now - spans[fallback] * 1000, to: now, live: true, text: fallback };
}

/** fixedRange writes a range with both ends, for a link that shows the same tomorrow. */
export function fixedRange(r: { from: number; to: number }): string {
  const iso = (ms: number) => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
  return `${iso(r.from)}~${iso(r.to)}`;
}

/** useRange is the range of the address; one up to now moves on every ten seconds, as
 * often as its screen is drawn. */
export function useRange(fallback: SpanName = '1h'): Range & { set: (text: string) => void } {
  const [text, set] = useParam('t', fallback);
  // Every ten seconds a new one: questions with it in their path are not asked each second.
  const now = Math.floor(Date.now() / 10_000) * 10_000 + 10_000;
  return useMemo(() => ({ ...parseRange(text, fallback, now), set }), [text, fallback, now, set]);
}

/** shareLink is the address of what is seen, with a range up to now made to stand. */
export function shareLink(now = Date.now()): string {
  const url = new URL(location.href);
  const t = url.searchParams.get('t');
  if (t && t in spans) url.searchParams.set('t', fixedRange(parseRange(t, '1h', now)));
  url.searchParams.delete('lang');
  return url.href;
}
