// What the doctor says, as package doctor of the binary writes it.

export type Text = { en: string; zh: string };
export type Stage = 'detected' | 'diagnosed' | 'contained' | 'repaired' | 'proved';
export const stages: Stage[] = ['detected', 'diagnosed', 'contained', 'repaired', 'proved'];

export type Alarm = {
  rule: string;
  hop: string;
  signal: string;
  statistic?: string;
  since: string;
  page: boolean;
  code: string;
  args?: string[];
  says: string;
};

export type Hypothesis = {
  node: string;
  kind?: string;
  mechanism: string;
  posterior: number;
  prior: number;
  explains: number;
  cause?: string;
  name?: Text;
  details?: Record<string, string>;
};

export type Answer = {
  taken_at: string;
  class: string;
  verdict: string;
  ranked: Hypothesis[];
  also?: Hypothesis[];
  [more: string]: unknown;
};

export type Collector = {
  name: string;
  hop: string;
  every_s: number;
  newest?: string;
  age_s: number;
  error?: string;
  looks: number;
  failed: number;
  took_s: number;
};

export type Now = {
  at: string;
  alarms: Alarm[];
  answer?: Answer;
  incident?: string;
  stage?: Stage;
  collectors: Collector[];
  journal: { last: number; kept: number; refusing?: string; held: number; lost: number };
  waiting: unknown[];
};

export type Entry = {
  seq: number;
  at: string;
  incident?: string;
  what: string;
  who: string;
  data?: unknown;
};
