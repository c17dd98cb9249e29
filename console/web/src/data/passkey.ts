// Passkeys, as browsers have them (WebAuthn Level 3), and proving that somebody is there.
import { ask } from './client';
import type { Session } from './session';

export const ENTER = '/api/session/enter';

/** Whether this browser, at this address, can make and use passkeys at all. */
export function passkeysHere(): boolean {
  return typeof PublicKeyCredential !== 'undefined' && 'parseRequestOptionsFromJSON' in PublicKeyCredential;
}

type Asked = { id: string; options: unknown };

async function got(options: unknown): Promise<unknown> {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options as PublicKeyCredentialRequestOptionsJSON);
  const found = (await navigator.credentials.get({ publicKey })) as PublicKeyCredential | null;
  if (!found) throw new Error('no passkey');
  return found.toJSON();
}

async function made(options: unknown): Promise<unknown> {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options as PublicKeyCredentialCreationOptionsJSON);
  const found = (await navigator.credentials.create({ publicKey })) as PublicKeyCredential | null;
  if (!found) throw new Error('no passkey');
  return found.toJSON();
}

const post = async <T,>(path: string, body: unknown) => (await ask<T>(path, { method: 'POST', body })).data;

/** signInByPasskey lets the person pick one of theirs. */
export async function signInByPasskey(): Promise<Session> {
  const { id, options } = await post<Asked>(`${ENTER}/passkey/begin`, {});
  return post<Session>(`${ENTER}/passkey`, { id, answer: await got(options) });
}

export const signInByCode = (name: string, pass: string, code: string) => post<Session>(`${ENTER}/code`, { name, pass, code });

/** enrolByPasskey takes an invitation up. */
export async function enrolByPasskey(token: string, label: string): Promise<Session> {
  const { id, options } = await post<Asked>(`${ENTER}/invitation/passkey/begin`, { token });
  return post<Session>(`${ENTER}/invitation/passkey`, { token, id, label, answer: await made(options) });
}

/** addPasskey makes one more for who is signed in. */
export async function addPasskey(label: string): Promise<void> {
  const { id, options } = await post<Asked>('/api/session/passkeys/begin', {});
  await post('/api/session/passkeys', { id, label, answer: await made(options) });
}

/** sayYes has the person's authenticator sign the SHA-256 of a text: their yes to it. */
export async function sayYes(text: string): Promise<string> {
  const challenge = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  const found = (await navigator.credentials.get({
    publicKey: { challenge, rpId: location.hostname, userVerification: 'required', timeout: 300_000 },
  })) as PublicKeyCredential | null;
  if (!found) throw new Error('no passkey');
  return JSON.stringify(found.toJSON());
}

/** What a yes or no to an act of the doctor signs. */
export const actSentence = (act: string, hash: string, agreed: boolean) => `moneta-act/1\n${act}\n${hash}\n${agreed ? 'yes' : 'no'}\n`;

/** hashOf is SHA-256 of a text, 64 hexadecimal digits. */
export async function hashOf(text: string): Promise<string> {
  const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return Array.from(sum, (b) => b.toString(16).padStart(2, '0')).join('');
}

/** Whether the person closed the browser's window, or it does not know them. */
export function gaveUp(e: unknown): boolean {
  return e instanceof DOMException && (e.name === 'NotAllowedError' || e.name === 'AbortError');
}
