// The exact action, hashed here: who says yes, says it to what they see, whatever the
// server says of it. The form is RFC 8785's; docs/operators.md describes it.
import { hashOf } from '../../data';

export type Approval = {
  id: string;
  tenant: number;
  kind: string;
  parameters: Record<string, string>;
  reason: string;
  maker: string;
  /** A machine proposed it: two people agree, the endorser first. */
  service?: boolean;
  endorser?: string;
  endorsed_at?: string;
  expires_at: string;
  hash: string;
  words: { en: string; zh: string };
  state: 'proposed' | 'approved' | 'used' | 'rejected' | 'expired' | 'withdrawn';
  made_at: string;
  checker?: string;
  checked_at?: string;
  note?: string;
  used_by?: string;
  used_at?: string;
  outcome?: string;
  result?: string;
};

export function canonical(a: Approval): string {
  const text = (s: string) => JSON.stringify(s);
  const parameters = Object.keys(a.parameters)
    .sort()
    .map((k) => `${text(k)}:${text(a.parameters[k] ?? '')}`)
    .join(',');
  return `{"approval":${text(a.id)},"expires_at":${text(a.expires_at)},"kind":${text(a.kind)},"maker":${text(a.maker)},"parameters":{${parameters}},"reason":${text(a.reason)},"tenant":${a.tenant},"v":1}`;
}

/** honest reports whether what is shown has the hash that the server names. */
export const honest = async (a: Approval) => (await hashOf(canonical(a))) === a.hash;

/** What a yes to an approval of the pay plane signs. */
export const statementOf = (id: string, hash: string) => `moneta-approve/1\n${id}\n${hash}\n`;

/** An act of the doctor that waits for people. */
export type Waiting = {
  act: { id: string; incident: string; cause: string; step: string; do: string; aim?: string; with?: Record<string, string>; why: string; by: string };
  change: { reach: string; items: number; value?: string; before?: string; after?: string; rows?: string[] };
  error?: string;
  hash: string;
  needs?: number;
  until?: string;
};
