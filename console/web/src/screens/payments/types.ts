// What the API says of payments, as far as these screens show it.
import type { Tone } from '../../parts';

export type Payment = {
  id: string;
  kind: string;
  state: string;
  status: 'processing' | 'succeeded' | 'failed';
  amount: string;
  asset: string;
  fee: string;
  from?: string;
  to?: string;
  channel?: string;
  payee?: { account: string; name?: string };
  reference?: string;
  remittance?: string;
  created_at: string;
  final_at?: string;
  settlement: string;
  hop?: string;
  next_at?: string;
  deadline?: string;
  original?: string;
  disposition?: string;
  remaining?: string;
  reason?: string;
  trace_id: string;
};

export type Page<T> = { data: T[]; has_more: boolean; next?: string };

export type Step = { code: string; label: string; state: 'done' | 'now' | 'ahead' | 'stopped'; at?: string };

export type View = {
  title: string;
  amount: string;
  created_at: string;
  final_at?: string;
  status: {
    status: Payment['status'];
    phase: string;
    money_at?: string;
    safe: boolean;
    do_not_retry: boolean;
    can_cancel: boolean;
    as_of: string;
    reference: string;
    last_checked_at?: string;
    eta?: { basis: string; p50?: string; p90?: string; final_record_at?: string };
    case?: { number: string; deadline: string };
    notice?: { text: string };
    texts: { lang: string; headline: string; money: string; next: string; advice: string };
  };
  steps: Step[];
  story: { at: string; text: string }[];
};

export type Posting = { transfer: number; debit: string; credit: string; amount: string; debit_balance: string; credit_balance: string };

export type Timeline = {
  payment: Payment;
  moves: { transition: string; from: string; to: string; settlement: string; attempt?: number; source?: string; reason?: string; at: string; durable: string[]; postings: Posting[] }[];
  attempts: { n: number; channel: string; state: string; reference: string; channel_id?: string; intended_at: string; send_by: string; answered_at?: string; reason?: string }[];
  callbacks: number;
  linked: Payment[];
};

export type Span = { row: 'state' | 'attempt' | 'callback' | 'webhook'; hop: string; name: string; from: string; to?: string; ended?: string; longest?: boolean };

export type Trail = {
  as_of: string;
  trace_id: string;
  started_at: string;
  final_at?: string;
  spans: Span[];
  callbacks: { id: number; channel: string; received_at: string; applied_at?: string; verdict?: string; verified?: boolean; bytes: number }[];
  searched_callbacks: number;
  webhooks: { id: string; endpoint: string; url: string; event: string; state: string; tries: number; last_status?: number; last_error?: string; queued_at: string; last_at?: string; next_at?: string }[];
  next?: { at: string; hop: string; what: string; deadline: string; late: boolean; checks: number; last_checked_at?: string };
  cases: { number: string; kind: string; state: string; owner: string; opened_at: string; deadline: string }[];
};

export type Triage = {
  verdict: string;
  as_of?: string;
  questions: { n: number; question: string; answer: string; code: string; then?: string; source: string }[];
  notes?: string[];
};

/** toneOf is how a payment's state looks: red is for money at risk, which no state is. */
export function toneOf(p: { state: string; deadline?: string; status: string }): Tone {
  if (p.state === 'succeeded') return 'good';
  if (p.status === 'failed') return 'idle';
  if (p.state === 'unknown' || p.state === 'in_review') return 'wait';
  if (p.deadline && new Date(p.deadline).getTime() < Date.now()) return 'wait';
  return 'info';
}

/** One stretch of a trace; a gap is a time in which nobody recorded anything. */
export type TraceRow = {
  hop: string; name: string; from_s: number; took_s: number; own_s: number; depth: number;
  gap?: boolean; waits?: boolean; failed?: boolean; error?: string; slow?: boolean; attrs?: Record<string, string>;
};

export type TraceLook = {
  trace_id?: string;
  payments: string[];
  state: 'here' | 'none_came' | 'before_watch' | 'forgotten' | 'not_recorded' | 'unknown';
  says: string;
  waterfall?: { took_s: number; rows: TraceRow[]; hops: { hop: string; s: number; share: number }[]; slow?: { hop: string }; cut?: boolean; partial?: boolean };
  jaeger_url?: string;
  logs?: { at: string; level: string; message: string; attrs?: Record<string, string> }[];
  logs_since?: string;
};
