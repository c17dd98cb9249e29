// What GET /api/look/channels says.
import type { Text } from '../../data';
import type { Tone } from '../../parts';

export type Pile = { items: number; value: Record<string, string>; oldest?: string };
export type Proof = { capability: string; status: 'proven' | 'failed' | 'not_shown' | string; detail: string; proven_at: string; expires_at: string };
export type Contract = { adapter: string; base_url: string; test_url?: string; contract: string; claims: Record<string, unknown>; proofs: Proof[]; may_resend: boolean };
export type Course = { at: string[]; latency_s: Record<string, (number | null)[]>; mix: Record<string, (number | null)[]>; rate_s: (number | null)[] };

export type ChannelLook = {
  name: string;
  state: 'fine' | 'waiting' | 'unknown' | 'stalled';
  since: string;
  why?: Text;
  breaker_open: boolean;
  paused?: { by: string; aim: string; lever: string; owner: string; reason: string }[];
  latency_s: Record<string, number>;
  mix?: Record<string, number>;
  rate_s?: number;
  busy?: number;
  declines?: number;
  callbacks_s?: number;
  callback_lag_s?: number;
  queued?: Pile;
  open?: Pile;
  held?: number;
  unknown?: Pile;
  contract?: Contract;
  course?: Course;
};

export const tones: Record<ChannelLook['state'], Tone> = { fine: 'good', waiting: 'wait', unknown: 'idle', stalled: 'bad' };

/** The kinds of answers, the good one first, each in its colour and pattern. */
export const kinds = ['good', 'timeout', 'unreachable', 'gateway', '5xx', '429', '4xx', 'unreadable', 'other'] as const;

/** time writes seconds as people read them. */
export function time(s: number | undefined): string {
  if (s === undefined) return '—';
  if (s < 0.9995) return `${s * 1000 < 10 ? (s * 1000).toFixed(1) : Math.round(s * 1000)} ms`;
  return `${s < 10 ? s.toFixed(2) : Math.round(s)} s`;
}

export const percent = (v: number | undefined) => (v === undefined ? '—' : `${(v * 100).toFixed(v > 0 && v < 0.1 ? 1 : 0)} %`);

/** span writes a claim's nanoseconds. */
export const nanos = (v: unknown) => (typeof v === 'number' ? time(v / 1e9) : String(v));
