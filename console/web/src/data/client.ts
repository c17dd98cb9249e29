// One way to ask: the browser has a session cookie and nothing else, sends the CSRF text
// with everything that changes something, and gets answers or problems, never strings.

export type Got<T> = {
  data: T;
  /** Seconds: set when the pay plane is gone and this is what it said last. */
  age: number | null;
};

/** Problem is why there is no answer (RFC 9457). */
export class Problem extends Error {
  status: number;
  code: string;
  title: string;
  titleZh: string;
  detail: string;
  retry: 'safe_same_key' | 'after' | 'never' | '';
  moneyState: 'not_moved' | 'moved' | 'unknown_will_resolve' | '';
  traceId: string;
  param: string;
  resource: string;
  path: string;

  constructor(path: string, status: number, from: Record<string, unknown>) {
    const text = (name: string) => (typeof from[name] === 'string' ? (from[name] as string) : '');
    super(text('detail') || text('title') || `HTTP ${status}`);
    this.name = 'Problem';
    this.path = path;
    this.status = status;
    this.code = text('code');
    this.title = text('title');
    this.titleZh = text('message_zh');
    this.detail = text('detail');
    this.retry = text('retry') as Problem['retry'];
    this.moneyState = text('money_state') as Problem['moneyState'];
    this.traceId = text('trace_id');
    this.param = text('param');
    this.resource = text('resource');
  }
}

/** Nobody answered: the network, or the watch itself. */
export const NETWORK = 'network';

let csrf = '';
let signedOut = () => {};

/** The session tells what to send, and wants to know when it has ended. */
export function armClient(token: string, onSignedOut: () => void) {
  csrf = token;
  signedOut = onSignedOut;
}

export type AskOptions = {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Milliseconds; 20 s when left out. */
  within?: number;
};

export async function ask<T>(path: string, o: AskOptions = {}): Promise<Got<T>> {
  const method = o.method ?? 'GET';
  const headers: Record<string, string> = { Accept: 'application/json', ...o.headers };
  if (method !== 'GET') headers['Moneta-Csrf'] = csrf;
  if (o.body !== undefined && !headers['Content-Type']) headers['Content-Type'] = 'application/json';
  const late = AbortSignal.timeout(o.within ?? 20_000);
  let res: Response;
  let text: string;
  try {
    res = await fetch(path, {
      method,
      headers,
      body: o.body === undefined ? undefined : typeof o.body === 'string' ? o.body : JSON.stringify(o.body),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: o.signal ? AbortSignal.any([o.signal, late]) : late,
    });
    text = await res.text();
  } catch (e) {
    if (o.signal?.aborted) throw e;
    // Nobody knows then whether something that changes was done.
    const unknown = method === 'GET' ? {} : { money_state: 'unknown_will_resolve' };
    throw new Problem(path, 0, { code: NETWORK, retry: 'after', detail: e instanceof Error ? e.message : '', ...unknown });
  }
  const isJson = /json/.test(res.headers.get('Content-Type') ?? '');
  if (!res.ok) {
    if (res.status === 401 && !path.startsWith('/api/session')) signedOut();
    let said: Record<string, unknown> = { title: res.statusText, detail: text.slice(0, 2000).trim() };
    if (isJson) {
      try {
        said = JSON.parse(text) as Record<string, unknown>;
      } catch {
        // the text is all there is
      }
    }
    throw new Problem(path, res.status, said);
  }
  const age = res.headers.get('Moneta-Age');
  return { data: (isJson ? (text === '' ? null : JSON.parse(text)) : text) as T, age: age === null ? null : Number(age) };
}
