// Runs every spec beside it in Debian's Chromium against a running world and prints one
// line of JSON for each result; test/e2e reads them. See test/e2e/README.md.
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const here = dirname(fileURLToPath(import.meta.url));
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const world = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const specs = join(here, world.specs ?? '');

/** Everything waits on conditions; this is when to give up on a busy machine. */
const patience = 90_000;
const specMost = 400_000;

const report = (spec, name, began, error) =>
  console.log(JSON.stringify({ spec, name, ok: !error, ms: Date.now() - began, error: error ? String(error.stack ?? error) : '' }));

/** until waits for a condition outside the page. */
export async function until(what, condition, within = patience) {
  const end = Date.now() + within;
  let last;
  for (;;) {
    try {
      last = await condition();
      if (last) return last;
    } catch (e) {
      last = e;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${within} ms; last ${String(last)}`);
    await new Promise((r) => setTimeout(r, 100));
  }
}

async function call(base, key, method, path, body, idempotency) {
  const res = await fetch(base + path, {
    method,
    headers: { ...(key ? { Authorization: `Bearer ${key}` } : {}), ...(body ? { 'Content-Type': 'application/json' } : {}), ...(idempotency ? { 'Idempotency-Key': idempotency } : {}) },
    body: body ? JSON.stringify(body) : undefined,
    signal: AbortSignal.timeout(20_000),
  });
  const text = await res.text();
  if (!res.ok) throw new Error(`${method} ${path}: ${res.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

/** link is a fresh one-time link, as `moneta console link` prints it. */
const link = async () => (await call(world.console, world.token, 'POST', '/console/links')).url;

const tools = {
  world,
  until,
  link,
  /** The API as a key: api('POST', '/v1/payments', body, idempotencyKey, 'admin'). */
  api: (method, path, body, idempotency, as = 'tenant') => call(world.api, as === 'admin' ? world.admin : world.tenant, method, path, body, idempotency),
  /** The sandbox: bank('PUT', '/banks/AB/behaviour', {...}). */
  bank: (method, path, body) => call(world.banks, '', method, path, body),
  /** eq and ok fail the spec with a sentence. */
  ok: (yes, what) => {
    if (!yes) throw new Error(`not so: ${what}`);
  },
  eq: (got, want, what) => {
    if (got !== want) throw new Error(`${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
  },
};

const browser = await chromium.launch({
  executablePath: world.chromium,
  args: ['--no-sandbox', '--disable-background-networking', '--disable-gpu', '--font-render-hinting=none', '--force-color-profile=srgb'],
});

async function signedIn() {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(await link());
  await page.waitForSelector('nav', { timeout: patience });
  const state = await context.storageState();
  const menu = await page.$$eval('nav a', (all) => all.map((a) => a.getAttribute('href')));
  await context.close();
  return { state, menu };
}

let { state, menu } = await signedIn();

/** A spec may end every session there is; who comes after signs in anew. */
async function current() {
  const cookie = state.cookies.map((c) => `${c.name}=${c.value}`).join('; ');
  const who = await (await fetch(`${world.console}/api/session`, { headers: { Cookie: cookie }, signal: AbortSignal.timeout(20_000) })).json();
  // Where there are people who sign in, nobody gets a link: their spec knows what it does.
  if (!who.signed_in) ({ state } = await signedIn().catch(() => ({ state })));
  return state;
}

const looked = new Set();

/** A session ends when nobody does anything for 15 minutes, and pages that are only looked
 * at do nothing: somebody is here. */
let stayed = Date.now();
async function stay() {
  if (Date.now() - stayed < 60_000) return;
  stayed = Date.now();
  const headers = { Cookie: state.cookies.map((c) => `${c.name}=${c.value}`).join('; '), 'Content-Type': 'application/json' };
  const who = await (await fetch(`${world.console}/api/session`, { headers })).json();
  if (who.signed_in) await fetch(`${world.console}/api/session/alive`, { method: 'POST', headers: { ...headers, 'Moneta-Csrf': who.csrf }, body: '{}' });
}

async function fresh(options = {}) {
  await stay();
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: 'light', locale: 'en-GB', timezoneId: 'Asia/Shanghai', reducedMotion: 'reduce', storageState: await current(), ...options });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (e) => wrong.push(`page: ${e}`));
  page.on('console', (m) => {
    // A refused request is in the network's own words; screens show it, and specs look.
    if (m.type() === 'error' && !/Failed to load resource/.test(m.text())) wrong.push(`console: ${m.text()}`);
  });
  return { context, page, wrong };
}

/** settled: the page has its heading and nothing is being loaded. */
async function settled(page) {
  await page.waitForSelector('h1');
  await page.waitForFunction(() => !document.querySelector('[data-loading]'));
  await page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
}

const sizes = [
  { width: 1280, height: 800 },
  { width: 390, height: 844 },
];

/** look goes through a screen in both languages and themes and sizes: nothing wider than
 * the window, no error, and nothing serious in what axe finds. Of the eight ways to put
 * these together it takes the four in which each meets each; with `every` all of them. */
async function look(spec, l) {
  const { context, page, wrong } = await fresh(l.context);
  try {
    const path = typeof l.path === 'function' ? await l.path(world, tools) : l.path;
    const found = [];
    for (const lang of ['en', 'zh']) {
      await page.goto(`${world.console}${path}${path.includes('?') ? '&' : '?'}lang=${lang}`);
      await settled(page);
      if (l.ready) await l.ready({ page, ...tools });
      await settled(page);
      await page.evaluate(axeSource);
      for (const size of sizes)
        for (const colorScheme of ['light', 'dark']) {
          if (!world.every && (lang === 'en') !== ((colorScheme === 'light') === (size.width > 1000))) continue;
          await page.setViewportSize(size);
          await page.emulateMedia({ colorScheme });
          // The page follows the system a moment later.
          await page.waitForFunction((c) => (document.documentElement.dataset.mantineColorScheme ?? c) === c, colorScheme);
          await settled(page);
          const at = `${lang}, ${colorScheme}, ${size.width} px`;
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
          if (wide > 1) found.push(`${at}: ${wide} px wider than the window`);
          // What is found counts when it stays: on a busy machine a colour may be on its way.
          const audit = async () => (await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }))).violations.filter((v) => v.impact === 'serious' || v.impact === 'critical');
          let violations = await audit();
          for (let again = 0; violations.length > 0 && again < 5; again++) {
            await settled(page);
            violations = await audit();
          }
          for (const v of violations)
            if (v.impact === 'serious' || v.impact === 'critical')
              found.push(`${at}: ${v.id} (${v.impact}): ${v.nodes.slice(0, 3).map((n) => `${n.target.join(' ')}: ${n.failureSummary.replace(/\s+/g, ' ')}`).join('; ')}`);
          if (world.keep) await page.screenshot({ path: join(world.out, `${l.name ?? spec}-${lang}-${colorScheme}-${size.width}.png`) });
          if (l.picture && world.update && lang === (l.pictureLang ?? 'en') && colorScheme === (l.pictureTheme ?? 'light') && size.width === (l.pictureWidth ?? 1280))
            await page.screenshot({ path: join(world.update, `${l.picture}.png`) });
        }
    }
    found.push(...wrong);
    if (found.length) throw new Error([...new Set(found)].join('\n'));
  } finally {
    await context.close();
  }
}

async function bounded(within, work) {
  let timer;
  const late = new Promise((_, no) => (timer = setTimeout(() => no(new Error(`took longer than ${within} ms`)), within)));
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function run(file) {
  const spec = basename(file, '.mjs');
  let m;
  const began = Date.now();
  try {
    m = await import(join(specs, file));
  } catch (e) {
    return () => report(spec, 'loads', began, e);
  }
  const work = async () => {
    for (const l of m.looks ?? []) {
      const at = Date.now();
      await bounded(specMost, look(spec, l)).then(
        () => report(spec, `looks ${l.name ?? spec}`, at),
        (e) => report(spec, `looks ${l.name ?? spec}`, at, e),
      );
    }
    for (const [name, step] of Object.entries(m.tests ?? {})) {
      const at = Date.now();
      const { context, page, wrong } = await fresh(m.context);
      try {
        await bounded(specMost, step({ page, context, browser, fresh, settled: () => settled(page), ...tools }));
        if (wrong.length) throw new Error(wrong.join('\n'));
        report(spec, name, at);
      } catch (e) {
        await page.screenshot({ path: join(world.out, `${spec}-${name.replace(/\W+/g, '-')}-failed.png`) }).catch(() => {});
        report(spec, name, at, e);
      } finally {
        await context.close();
      }
    }
  };
  // A path that is made up at the look is none of the menu's.
  for (const l of m.looks ?? []) if (typeof l.path === 'string') looked.add(l.path.split('?')[0]);
  work.alone = !!m.alone;
  return work;
}

const only = world.only ? new RegExp(world.only) : /./;
const files = readdirSync(specs).filter((f) => f.endsWith('.mjs') && f !== 'run.mjs' && only.test(f)).sort();
const all = await Promise.all(files.map(run));
const queue = all.filter((w) => !w.alone);
// A screen of the menu that no spec looks at is looked at all the same.
if (!world.specs && (!world.only || only.test('menu')))
  for (const path of menu.filter((p) => !looked.has(p)))
    queue.push(async () => {
      const at = Date.now();
      const name = path === '/' ? 'first' : path.slice(1).replaceAll('/', '-');
      await bounded(specMost, look('menu', { name, path })).then(
        () => report('menu', `looks ${name}`, at),
        (e) => report('menu', `looks ${name}`, at, e),
      );
    });
await Promise.all([0, 1].map(async () => { for (let w; (w = queue.shift()); ) await w(); }));
// What changes the world for others comes last, one by one.
for (const w of all.filter((x) => x.alone)) await w();
await browser.close();
