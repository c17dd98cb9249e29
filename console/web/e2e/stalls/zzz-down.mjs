// The pay plane is gone, then its database stands still: every screen shows what it knows
// and how old that is, or what to do, and none waits for ever. Last of all, since what it
// breaks is not whole again for a while.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { walk, whole } from '../lib/walk.mjs';

export const alone = true;

/** below are the processes that were started by one, and by those. */
function below(pid) {
  const parent = new Map();
  for (const p of readdirSync('/proc').filter((n) => /^\d+$/.test(n)))
    try {
      parent.set(Number(p), Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${p}/status`, 'utf8'))[1]));
    } catch {
      // it has ended
    }
  const all = [];
  for (const next = [pid]; next.length > 0; ) {
    const p = next.shift();
    for (const [child, of] of parent) if (of === p) all.push(child) && next.push(child);
  }
  return all;
}

const command = (pid) => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
};
const signal = (name, ...pids) => execFileSync('kill', [`-${name}`, ...pids.map(String)]);

/** known are screens that show what they knew, with its age. */
const known = (seen, ok, ...paths) => {
  for (const path of paths) {
    const { text } = seen.find((s) => s.path === path);
    ok(/What you see is what it said .+ ago|That was so .+ ago/.test(text), `${path} says how old it is: ${text.slice(0, 500)}`);
  }
};

export const tests = {
  'without the pay plane, and with a database that stands still, every screen says what to do': async ({ page, world, until, ok, visit, settled }) => {
    const payment = `/payments/${world.payments.sent}`;
    const round = (name) => walk({ page, world, visit, until, name, more: [payment] });
    const hop = (name) => page.locator(`[data-hop="${name}"]`).first();
    await page.goto(`${world.console}/?lang=en`);
    await settled();
    whole(await round('up'), ok); // what was seen is remembered
    const serve = below(world.up).find((p) => / serve /.test(command(p)));
    ok(serve, 'serve runs');
    signal('STOP', world.up); // who would start it again
    try {
      signal('KILL', serve);
      await visit(page, '/', 'en');
      await until('the map tells of it', async () => !/All is well|It is quiet/.test(await page.getByRole('status').first().innerText()));
      const gone = await round('down');
      whole(gone, ok);
      known(gone, ok, '/payments', payment, '/ledger', '/finance', '/recon', '/approvals', '/developers');
    } finally {
      signal('CONT', world.up);
    }
    await until('serve is back', async () => (await fetch(`${world.api}/readyz`).catch(() => ({}))).ok);

    const database = below(world.up).filter((p) => /postgres/.test(command(p)));
    ok(database.length > 0, 'postgres runs');
    signal('STOP', ...database);
    try {
      await page.goto(`${world.console}/?lang=en`); // from nothing: who is signed in is known too
      await page.waitForSelector('h1');
      await until('the map tells of the database', async () => (await hop('postgres').getAttribute('data-state')) !== 'fine');
      await until('the sentence says it in plain words', async () => {
        const said = await page.getByRole('status').first().innerText();
        return /The database does not answer/.test(said) && !/readyz/.test(said);
      });
      const frozen = await round('frozen');
      whole(frozen, ok);
      known(frozen, ok, '/payments', payment, '/ledger', '/finance', '/recon');
      ok(!/bench is empty/.test(frozen.find((s) => s.path === '/repair').text), 'what nobody can count is not nothing');
    } finally {
      signal('CONT', ...below(world.up).filter((p) => /postgres/.test(command(p))));
    }
    await until('it is well again', async () => (await fetch(`${world.api}/readyz`).catch(() => ({}))).ok);
  },
};
