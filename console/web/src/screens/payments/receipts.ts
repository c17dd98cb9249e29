// Verifying a receipt in the browser, by WebCrypto alone: nothing is sent anywhere. It is
// as strict as the server's own verifier: one form of the header, no byte too many.

export type Receipt = { id: string; payment: string; state: string; status: string; final: boolean; disposition?: string; recorded_at: string; newest: boolean; kid: string; jws: string };

export type JWK = { kty: string; crv: string; kid: string; x: string };

export type Document = {
  format: string;
  payment: string;
  reference: string;
  kind: string;
  amount: string;
  captured?: string;
  fee: string;
  asset: string;
  decimals: number;
  state: string;
  status: string;
  money_at?: string;
  disposition?: string;
  back?: Partial<Record<'charged_back' | 'refunded' | 'refunding' | 'returned', string>>;
  final: boolean;
  original?: string;
  payee?: { ends_with: string; sha256: string };
  accepted_at: string;
  recorded_at: string;
  rests_on: { event: string; linked?: string; sequence: number; transition: string };
};

export type Refusal = 'form' | 'unknown_key' | 'forged' | 'newer' | 'unable';
export type Verdict = { document: Document; refusal?: undefined } | { refusal: Refusal; document?: undefined };

const typ = 'moneta-receipt+jws';
const format = 'moneta-receipt/1';
const longest = 8 << 10;

function bytesOf(part: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[A-Za-z0-9_-]+$/.test(part) || part.length % 4 === 1) return null;
  const text = atob(part.replace(/-/g, '+').replace(/_/g, '/'));
  const again = btoa(text).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
  return again === part ? Uint8Array.from(text, (c) => c.charCodeAt(0)) : null; // the last bits count too
}

const textOf = (bytes: Uint8Array) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);

/** verify says what a receipt says if one of the keys signed it, or why not. */
export async function verify(jws: string, keys: JWK[]): Promise<Verdict> {
  const [head = '', body = '', tail = '', ...more] = jws.split('.');
  const [h, b, s] = [bytesOf(head), bytesOf(body), bytesOf(tail)];
  if (jws.length > longest || more.length > 0 || !h || !b || !s) return { refusal: 'form' };
  let kid: unknown;
  try {
    kid = (JSON.parse(textOf(h)) as { kid?: unknown }).kid;
    if (typeof kid !== 'string' || textOf(h) !== JSON.stringify({ alg: 'EdDSA', kid, typ })) return { refusal: 'form' };
  } catch {
    return { refusal: 'form' };
  }
  const jwk = keys.find((k) => k.kid === kid && k.kty === 'OKP' && k.crv === 'Ed25519');
  if (!jwk) return { refusal: 'unknown_key' };
  let genuine: boolean;
  try {
    const key = await crypto.subtle.importKey('jwk', { kty: jwk.kty, crv: jwk.crv, x: jwk.x }, { name: 'Ed25519' }, false, ['verify']);
    genuine = await crypto.subtle.verify({ name: 'Ed25519' }, key, s, new TextEncoder().encode(`${head}.${body}`));
  } catch {
    return { refusal: 'unable' }; // an older browser, or a page without TLS that is not on this machine
  }
  if (!genuine) return { refusal: 'forged' };
  try {
    const document = JSON.parse(textOf(b)) as Document;
    return document.format === format ? { document } : { refusal: 'newer' };
  } catch {
    return { refusal: 'newer' };
  }
}

/** tokenOf takes a file's text: the receipt alone, or the API's answer that has it. */
export function tokenOf(text: string): string {
  const plain = text.trim();
  if (!plain.startsWith('{')) return plain;
  try {
    const jws = (JSON.parse(plain) as { jws?: unknown }).jws;
    return typeof jws === 'string' ? jws : plain;
  } catch {
    return plain;
  }
}

/** major writes smallest units by the decimals that the receipt itself states. */
export function major(minor: string, d: Document): string {
  const digits = minor.padStart(d.decimals + 1, '0');
  const whole = digits.slice(0, digits.length - d.decimals);
  return `${whole}${d.decimals > 0 ? `.${digits.slice(-d.decimals)}` : ''} ${d.asset}`;
}

/** proven names what a receipt proves: the words are proves_ and this. */
export function proven(d: Document): string {
  if (!d.final) return 'open';
  if (d.kind === 'late_payout' || d.kind === 'chargeback') return 'debt';
  return d.kind === 'hold' || d.kind === 'inbound' ? d.kind : (d.disposition ?? d.state);
}

/** cameBack is the amount that made the disposition; of a hold, what was captured. */
export function cameBack(d: Document): string {
  if (d.kind === 'hold') return major(d.captured ?? '0', d);
  const b = d.back ?? {};
  const by: Record<string, string | undefined> = { refunding: b.refunding, returned: b.returned, partly_returned: b.returned, charged_back: b.charged_back };
  const amount = by[d.disposition ?? ''] ?? b.refunded;
  return amount ? major(amount, d) : '';
}
