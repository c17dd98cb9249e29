// A world of one's own, for a spec that breaks it: what it does to it hurts no other spec.
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

const freePort = () =>
  new Promise((yes, no) => {
    const s = createServer();
    s.on('error', no);
    s.listen(0, '127.0.0.1', () => {
      const { port } = s.address();
      s.close(() => yes(port));
    });
  });

/** psql of the machine that made the world's Postgres. */
export function psql() {
  if (spawnSync('psql', ['--version']).status === 0) return 'psql';
  const root = '/usr/lib/postgresql';
  const found = (existsSync(root) ? readdirSync(root).sort() : []).map((v) => join(root, v, 'bin', 'psql')).filter((f) => existsSync(f));
  if (found.length === 0) throw new Error('there is no psql on this machine; it comes with the package postgresql-client');
  return found.at(-1);
}

/** ownWorld starts everything in a fresh folder; end takes it away. */
export async function ownWorld({ world, until }) {
  const dir = mkdtempSync('/var/tmp/moneta-e2e-own-');
  chmodSync(dir, 0o755);
  const data = join(dir, 'data');
  const [api, banks] = [await freePort(), await freePort()];
  const log = openSync(join(dir, 'up.log'), 'w');
  const up = spawn(world.moneta, ['up', '--quiet', '--sandbox', '--data', data, '--listen', `127.0.0.1:${api}`, '--sandbox-listen', `127.0.0.1:${banks}`, '--console-listen', '127.0.0.1:0'], { stdio: ['ignore', log, log] });
  const gone = new Promise((r) => up.on('exit', r));
  const end = async () => {
    up.kill('SIGTERM');
    await Promise.race([gone, new Promise((r) => setTimeout(r, 30_000))]);
    up.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const own = { data, api: `http://127.0.0.1:${api}`, end };
    await until('a world of its own', async () => {
      if (up.exitCode !== null) throw new Error(readFileSync(join(dir, 'up.log'), 'utf8').slice(-2000));
      return (await fetch(`${own.api}/readyz`)).ok && existsSync(join(data, 'watch.json'));
    }, 180_000);
    const keys = JSON.parse(readFileSync(join(data, 'keys.json'), 'utf8'));
    const at = JSON.parse(readFileSync(join(data, 'watch.json'), 'utf8'));
    let n = 0;
    own.console = at.url;
    own.call = async (method, path, body, as = 'tenant') => {
      const res = await fetch(own.api + path, {
        method,
        headers: { Authorization: `Bearer ${as === 'admin' ? keys.admin_key : keys.tenant_key}`, 'Content-Type': 'application/json', 'Idempotency-Key': `own-${n++}` },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(60_000),
      });
      const text = await res.text();
      if (!res.ok) throw new Error(`${method} ${path}: ${res.status} ${text}`);
      return JSON.parse(text);
    };
    own.bank = (code, how) => fetch(`http://127.0.0.1:${banks}/banks/${code}/behaviour`, { method: 'PATCH', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(how) });
    own.link = async () => (await (await fetch(`${at.url}/console/links`, { method: 'POST', headers: { Authorization: `Bearer ${at.token}` } })).json()).url;
    /** sql runs statements in a session of somebody else; it is killed with the world. */
    own.sql = (name, ...statements) =>
      spawn(psql(), ['-X', '-v', 'ON_ERROR_STOP=1', '-d', 'moneta', ...[`set application_name = '${name}'`, ...statements].flatMap((s) => ['-c', s])], {
        env: { ...process.env, PGHOST: join(data, 'pg', 'run'), PGPORT: '5432', PGUSER: 'moneta' },
        stdio: 'ignore',
      });
    return own;
  } catch (e) {
    await end();
    throw e;
  }
}
