// People who may approve, made on the command line, and how they come in with a pass and a
// code.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { codeOf } from './totp.mjs';

const made = new Map();

/** key is the file with what signs for a person. */
export const key = (world, name) => join(dirname(world.data), `${name}.key`);

/** moneta runs the command line beside the world. */
export const moneta = (world, ...args) => execFileSync(world.moneta, args, { encoding: 'utf8', env: { ...process.env, MONETA_URL: world.api } });

/** person is somebody who may approve, made when first asked for: with '--totp' they come in
 * with a pass and codes, else with their key. */
export function person(world, name, ...how) {
  if (!made.has(name)) {
    const p = JSON.parse(moneta(world, 'operator', 'enrol', '--name', name, '--key', key(world, name), '--json', ...how));
    moneta(world, 'operator', 'add', '--data', world.data, '--name', name, '--role', 'approver', '--credential', p.credential);
    const { pass } = JSON.parse(readFileSync(key(world, name), 'utf8'));
    made.set(name, { name, pass, secret: p.authenticator && new URL(p.authenticator).searchParams.get('secret'), used: 0 });
  }
  return made.get(name);
}

/** code is one that the person did not use yet: each counts once, and the one of the next
 * half minute is taken already. */
export async function code(who, until) {
  const step = () => Math.floor(Date.now() / 30_000);
  await until('a fresh code', () => who.used <= step());
  who.used = Math.max(step(), who.used + 1);
  return codeOf(who.secret, who.used * 30_000);
}

/** enter signs the person in where the page asks for it. */
export async function enter(page, who, until) {
  await page.getByLabel('Name', { exact: true }).fill(who.name);
  await page.getByLabel('Pass', { exact: true }).fill(who.pass);
  await page.getByLabel('Code', { exact: true }).fill(await code(who, until));
  await page.getByRole('button', { name: 'Sign in', exact: true }).first().click();
  await page.waitForSelector('nav');
}
