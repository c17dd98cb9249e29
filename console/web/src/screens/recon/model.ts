// What the API says about reconciliation; amounts are texts of smallest units.

export type Column = { count: number; value: string };
export type Day = {
  day: string;
  asset: string;
  direction: 'in' | 'out';
  ledger: Column;
  said: Column;
  stated: Column;
  matched: Column;
  surplus: Column;
  awaited: Column;
  overdue: Column;
  awaited_since?: string;
  fees: string;
};
export type ChannelPicture = { channel: string; read_at?: string; read_age_s?: number; files: boolean; days: Day[] };
export type PictureOf = { at: string; from: string; to: string; channels: ChannelPicture[] };

export type Age = {
  channel: string;
  class: string;
  title: { en: string; zh: string };
  owner: string;
  severity: number;
  asset?: string;
  under: '1h' | '1d' | '3d' | '7d' | 'older';
  count: number;
  value: string;
  oldest: string;
};
export const buckets: Age['under'][] = ['1h', '1d', '3d', '7d', 'older'];

export type Leg = { debit: string; credit: string; amount: string; asset: string };
export type Suggestion = { action: string; transition?: string; legs?: Leg[]; confidence: 'certain' | 'likely' | 'needs_person'; en: string; zh: string };
export type Line = {
  line: string;
  reference: string;
  direction: string;
  amount: string;
  fee: string;
  asset: string;
  remittance?: string;
  booked_at: string;
  outcome: string;
  statement?: string;
};
export type Ours = {
  payment: string;
  kind: string;
  state: string;
  amount: string;
  fee: string;
  asset: string;
  account?: string;
  settlement: string;
  created_at: string;
  due_at?: string;
  attempts: { n: number; channel: string; reference: string; state: string; channel_id?: string; reason?: string; intended_at: string; answered_at?: string }[];
};
export type BreakOf = {
  id: number;
  class: string;
  title: { en: string; zh: string };
  state: 'open' | 'explained' | 'resolved';
  channel: string;
  payment?: string;
  reference?: string;
  line?: string;
  direction?: string;
  asset?: string;
  amount: string;
  severity: number;
  owner: string;
  detail?: string;
  opened_at: string;
  age_s: number;
  closed_at?: string;
  closed_by?: string;
  reason?: string;
  code?: string;
  suggestion: Suggestion;
  history?: { at: string; what: string; who: string; note?: string }[];
  sides?: { ours?: Ours; lines: Line[] };
};
export type List<T> = { data: T[]; has_more: boolean; next?: string };

export type Imported = {
  id: number;
  channel: string;
  statement_id: string;
  page: number;
  asset: string;
  day: string;
  opening?: string;
  closing?: string;
  net: string;
  lines: number;
  applied: number;
  imported_at: string;
  imported_by: string;
  accepted?: string;
  replayed?: boolean;
};

export type { Approval } from '../../parts/proposal';

/** share is v of most between 0 and 1, for lengths in a picture only. */
export function share(v: string | bigint, most: bigint): number {
  const n = BigInt(v);
  return most <= 0n || n <= 0n ? 0 : Number((n * 10_000n) / most) / 10_000;
}

export const toneOf = (severity: number) => (severity === 1 ? 'bad' : severity === 2 ? 'wait' : 'idle') as 'bad' | 'wait' | 'idle';

/** today in UTC, and so many days before it. */
export function dayBefore(days: number): string {
  return new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10);
}
