// What GET /api/look/incidents… answers, as app/console_incident.go writes it.
import type { Alarm, Hypothesis, Stage, Text } from '../../data';

export type AtRisk = { items: number; value: Record<string, string>; oldest_s: number };

export type Row = {
  id: string;
  since: string;
  opened_at: string;
  closed_at?: string;
  stage: Stage;
  state: string;
  paged: boolean;
  cause: string;
  named: boolean;
  money_most?: AtRisk;
  clean: boolean;
  breaks: number;
  waits: number;
};

export type FollowUp = { id: string; text: string; owner?: string; due?: string; done?: boolean; overdue?: boolean; by?: string; at?: string };
export type OpenFollowUp = FollowUp & { incident: string };

export type Rows = { incidents: Row[]; more: boolean; follow_ups: OpenFollowUp[]; journal: { left_out?: number } };

export type Figure = { value: number; unit: string; n: number };

export type Evident = {
  node: string;
  mechanism: string;
  family: string;
  query: string;
  window: { from: string; until: string };
  value: Figure;
  baseline: Figure;
  likelihood_ratio: number;
  text: string;
};

export type Suspect = Hypothesis & { what: string };

export type Check = { id: string; node: string; text: string; run?: string; cost_s: number; read_only: boolean; gain_bits: number; yes: string; no: string };

export type Scope = {
  class: string;
  share: number;
  low: number;
  high: number;
  events: number;
  cohorts?: { dimension: string; value: string; affected: number; total: number; share: number; rest_share: number; low: number; high: number }[];
};

export type Judged = {
  at: string;
  verdict: 'cause' | 'unknown' | 'no_fault';
  ranked: Suspect[];
  also: Suspect[];
  for: Evident[];
  against: Evident[];
  scope: Scope;
  scope_text: string;
  confidence: { probability: number; cases: number };
  next: Check[];
  triage_s?: number;
};

export type Act = { id: string; step: string; do: string; aim?: string; with?: Record<string, string>; why: string; by: string; approved?: string[]; at: string };
export type Change = { reach: number; items: number; value?: string; before?: string; after?: string; rows?: string[] };
export type StepResult = { act: Act; became: string; change: Change; error?: string; hash?: string; needs?: number; until?: string; at?: string };
export type Step = { id: string; do: string; aim?: string; with?: Record<string, string>; why: Text; if?: string; until?: string; within?: string };
export type Run = { run: string; request: { phase: 'contain' | 'repair'; round?: number; who: string; steps: Step[] }; became: string; steps: StepResult[] };

export type Proved = {
  file: string;
  valid: boolean;
  why?: string;
  key?: string;
  at?: string;
  took_ms: number;
  verdict?: 'clean' | 'incomplete' | 'faults';
  sha256?: string;
  faults: number;
  rows: number;
  assets: { asset: string; accounts: number; transfers: number; moved: string; sum: string; held: string; clearing_out: string; clearing_in: string }[];
  checks: { name: string; asked: number; faults: number }[];
  rails: { channel: string; proved: boolean; why: string; effects: number; matched: number }[];
  not_proved: string[];
  texts: Record<string, Text>;
};

export type Room = {
  id: string;
  since: string;
  opened_at: string;
  closed_at?: string;
  paged: boolean;
  live: boolean;
  stage: Stage;
  sentence: string;
  stages: { stage: Stage; word: string; loop: string; at?: string; after_s?: number }[];
  alarms: (Alarm & { text: string; explained_by?: string })[];
  money?: AtRisk;
  money_most?: AtRisk;
  money_over: ({ at: string } & AtRisk)[];
  answer?: Judged;
  cause?: { id: string; name: string; explains: string; users: string; support: string; never: string[]; hot_fix: string[]; drills: string[] };
  timeline: { seq: number; at: string; what: string; who: string; text: string }[];
  cut?: number;
  guide: { step: string; answer: string; known: boolean }[];
  order: { tier: number; text: string; done: boolean }[];
  todo: { short: FollowUp[]; mid: FollowUp[]; long: FollowUp[]; added: FollowUp[] };
  waits: { act: Act; text: string }[];
  held: { seq: number; at: string; text: string; act: Act }[];
  breaks: { text: string; owner: string }[];
  runs: Run[];
  steps: { contain: Step[]; repair: Step[] };
  proof?: { file: string; clean: boolean; found?: string[] };
  proved?: Proved;
  seen_at?: string;
  journal: { refusing?: string; held: number; lost: number };
};

export type Lever = {
  id?: string;
  lever: string;
  class: string;
  aim: string;
  value?: string;
  owner: string;
  reason: string;
  by: string;
  via: string;
  pulled_at: string;
  expires_at: string;
  holds: boolean;
  dry_run?: boolean;
  radius?: { open_payments: number | null; per_minute: number | null } | null;
};
export type Levers = {
  kinds: { lever: string; class: string; aims: string[]; does: Text; value: Text; local: boolean }[];
  channels: string[];
  held: Lever[];
  silent?: string;
};

export type Impact = {
  at: string;
  holders: number;
  payments: number;
  overdue: number;
  oldest_s: number;
  open: Record<string, string>;
  unknown: Record<string, string>;
  tenants: number;
  channels: string[];
  endpoints: number;
  callbacks: number;
  unsent: number;
  releases: number;
  behind: number;
  quarantine: number;
  cut?: boolean;
  journal: { refusing?: string; held: number; lost: number };
};

export type Focus = {
  on: { by: string; reason: string; since: string; until: string } | null;
  tickets: number;
  signals: { key: 'errors' | 'waiting' | 'database'; hop?: string; signal?: string; unit?: string; value: number; known: boolean }[];
};
