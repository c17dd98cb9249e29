// The recipes of docs/keys.md in TypeScript; keys.go is the same in Go.
import { createHash, createHmac } from "node:crypto";

export interface Store {
  get(name: string): string | undefined;
  set(name: string, value: string): void;
  delete(name: string): void;
}

// recipe: purchase
export interface Draft { user: string; payee: string; amount: string; asset: string; method: string }

const slotOf = (d: Draft) => "pay:" + join(d.user, d.payee, d.amount, d.asset, d.method);

// Called when the confirmation screen opens; the key is stored before anything is sent.
export function purchaseKey(s: Store, d: Draft, mint: () => string): string {
  const stored = s.get(slotOf(d));
  if (stored !== undefined) return stored;
  const key = mint(); // UUIDv7, or crypto.randomUUID()
  s.set(slotOf(d), key);
  return key;
}

// Only a definite end frees the draft for a new key. A timeout is not one.
export function concluded(s: Store, d: Draft, status: string): void {
  if (status === "succeeded" || status === "failed") s.delete(slotOf(d));
}

// recipe: guard
// For the question "again?", never for a key. Ask for this bucket and the one before.
export function guard(secret: Uint8Array, user: string, payee: string, asset: string, amount: string, unixSeconds: number): string {
  const bucket = String(Math.floor(unixSeconds / 300));
  return createHmac("sha256", secret).update(join(user, payee, asset, amount, bucket)).digest("hex");
}

// recipe: batch
export function batchKey(batch: string, line: number): string {
  return `${batch}:${line}`;
}

export function businessKey(...parts: string[]): string {
  return parts.join(":");
}

// recipe: reference
export function reference(payment: string, attempt: number): string {
  if (!/^pay_.{13}$/.test(payment) || attempt < 1) throw new Error(`${payment}, attempt ${attempt}: not a payment's id and an attempt from 1`);
  return `M${payment.slice(4)}A${attempt}`;
}

// recipe: consumer
export interface Tx { exec(sql: string, args: string[]): Promise<number> }

// The work and its memory are one transaction: a redelivery finds it done.
export async function once(tx: Tx, event: string, work: (tx: Tx) => Promise<void>): Promise<void> {
  const fresh = await tx.exec("insert into processed (event) values ($1) on conflict do nothing", [event]);
  if (fresh > 0) await work(tx);
}

// recipe: webhook
// The same id with another hash is not a duplicate but a case for a person.
export function webhookKey(id: string, body: Uint8Array): string {
  return `${id}:${createHash("sha256").update(body).digest("hex")}`;
}

// recipe: chain
export function chainKey(chain: bigint, account: string, nonce: bigint): string {
  return `${chain}:${account.toLowerCase()}:${nonce}`;
}

// recipe: end
// Keeps parts apart whatever they contain; lengths are in bytes of UTF-8.
function join(...parts: string[]): string {
  return parts.map((p) => `${new TextEncoder().encode(p).length}:${p}`).join("");
}
