// What GET /api/look/map says, as package doctor/river of the binary writes it.
import type { Text } from '../../data';
import type { Tone } from '../../parts';

export type HopState = 'fine' | 'waiting' | 'unknown' | 'stalled';

export type Pile = { items: number; value: Record<string, string>; oldest?: string };

export type Lane = { channel: string; waits: Pile; in_s: number; out_s: number; overdue?: number; paused?: boolean };

export type Pause = { by: string; aim: string; lever: string; owner: string; reason: string };

export type Hop = {
  name: string;
  kind: string;
  state: HopState;
  since: string;
  why?: Text;
  heard_at?: string;
  in_s?: number;
  out_s?: number;
  waits?: Pile;
  held?: number;
  overdue?: number;
  due?: string;
  usual_s?: number;
  lanes?: Lane[];
  paused?: Pause[];
  alarms?: { rule: string; since: string; page: boolean; says: Text }[];
  figures?: Record<string, number>;
};

export type Flow = { from: string; to: string; per_s: number };

export type Look = {
  at: string;
  state: HopState;
  since: string;
  sentence: Text;
  money: { state: 'sound' | 'off' | 'unknown'; checked_s?: number; says: Text };
  incident?: { id: string; stage: string; hop?: string; cause?: Text; confidence?: number };
  open?: Pile;
  hops: Hop[];
  flows: Flow[];
};

export type Course = { waiting: (number | null)[]; in_s: (number | null)[]; out_s: (number | null)[]; state: HopState[] };
export type History = { at: string[]; worst: HopState[]; hops: Record<string, Course> };

export type Ages = { hop: string; buckets: { from_s: number; items: number }[]; whole: boolean };

export const tones: Record<HopState, Tone> = { fine: 'good', waiting: 'wait', unknown: 'idle', stalled: 'bad' };

const none: Pile = { items: 0, value: {} };

/** join adds piles up; amounts stay texts of smallest units. */
export function join(...all: (Pile | undefined)[]): Pile {
  const out: Pile = { items: 0, value: {} };
  for (const p of all) {
    if (!p) continue;
    out.items += p.items;
    for (const [asset, v] of Object.entries(p.value)) out.value[asset] = (BigInt(out.value[asset] ?? '0') + BigInt(v)).toString();
    if (p.oldest && (!out.oldest || p.oldest < out.oldest)) out.oldest = p.oldest;
  }
  return out;
}

export function laneOf(look: Look, hop: string, channel: string): Lane | undefined {
  return look.hops.find((h) => h.name === hop)?.lanes?.find((l) => l.channel === channel);
}

/** behind is what stands before a channel: what waits to be sent there, and what is there. */
export function behind(look: Look, hop: Hop): Pile {
  return hop.kind === 'channel' ? join(hop.waits, laneOf(look, 'dispatch', hop.name)?.waits) : (hop.waits ?? none);
}
