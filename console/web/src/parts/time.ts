import type { Lang } from '../words/words';

const locale = { en: 'en-GB', zh: 'zh-CN' } as const;
const formats = new Map<string, Intl.DateTimeFormat>();

function format(lang: Lang, name: string, o: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${lang}${name}`;
  let f = formats.get(key);
  if (!f) {
    f = new Intl.DateTimeFormat(locale[lang], o);
    formats.set(key, f);
  }
  return f;
}

/** clockText is the time of day with seconds, "14:03:05". */
export function clockText(at: number | Date, lang: Lang): string {
  return format(lang, 'clock', { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false }).format(at);
}

/** zoneText is the reader's zone, "UTC+8". */
export function zoneText(at: number | Date): string {
  const minutes = -new Date(at).getTimezoneOffset();
  const h = Math.trunc(Math.abs(minutes) / 60);
  const m = Math.abs(minutes) % 60;
  return minutes === 0 ? 'UTC' : `UTC${minutes < 0 ? '\u2212' : '+'}${h}${m ? `:${String(m).padStart(2, '0')}` : ''}`;
}

/** momentText is date, time and zone, "22 Nov 2026, 14:03:05 UTC+8"; without the date for
 * today, without the year for this year. */
export function momentText(at: number | Date, lang: Lang, now = Date.now()): string {
  const d = new Date(at);
  const n = new Date(now);
  if (d.toDateString() === n.toDateString()) return `${clockText(d, lang)} ${zoneText(d)}`;
  const year = d.getFullYear() === n.getFullYear() ? undefined : ('numeric' as const);
  const day = format(lang, year ? 'day-year' : 'day', { day: 'numeric', month: 'short', year }).format(d);
  return `${day} ${clockText(d, lang)} ${zoneText(d)}`;
}

export type Span = { unit: 's' | 'min' | 'h' | 'd'; n: number };

/** spanOf says a time as people do: 90 seconds are "90 s", 200 are "3 min". */
export function spanOf(seconds: number): Span {
  const s = Math.max(0, seconds);
  if (s < 120) return { unit: 's', n: Math.round(s) };
  if (s < 7200) return { unit: 'min', n: Math.floor(s / 60) };
  if (s < 172_800) return { unit: 'h', n: Math.floor(s / 3600) };
  return { unit: 'd', n: Math.floor(s / 86_400) };
}
