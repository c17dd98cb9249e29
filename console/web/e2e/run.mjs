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

const emulated = { colorScheme: 'light', reducedMotion: 'reduce' };
const desk = { width: 1280, height: 800 };

/** opened is a context in which a page begins as people's do. */
async function opened(options = {}) {
  await stay();
  const context = await browser.newContext({ viewport: desk, ...emulated, locale: 'en-GB', timezoneId: 'Asia/Shanghai', storageState: await current(), ...options });
  context.setDefaultTimeout(patience);
  return context;
}

/** watched is a page whose errors are noted. */
async function watched(context) {
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (e) => wrong.push(`page: ${e}`));
  page.on('console', (m) => {
    // A refused request is in the network's own words; screens show it, and specs look.
    if (m.type() === 'error' && !/Failed to load resource/.test(m.text())) wrong.push(`console: ${m.text()}`);
  });
  return { context, page, wrong };
}

/** fresh is a browser that was never here. */
const fresh = async (options) => watched(await opened(options));

/** Loading the console anew each time is most of what a look takes. What only looks shares
 * one page and goes on in it as people do, by the console's own links and its button for
 * the language; tests share a context, and with it the scripts that are compiled already.
 * Nothing else stays: what a test's page stored is thrown away after it, and a session that
 * ended ends the context. */
class Shared {
  async alive() {
    await stay();
    if (this.context && !(await (await this.context.request.get(`${world.console}/api/session`)).json()).signed_in) await this.close();
    this.context ??= await opened();
  }
  async forLook() {
    await this.alive();
    this.look ??= await watched(this.context);
    this.look.wrong.length = 0;
    return this.look;
  }
  async forTest() {
    await this.alive();
    await this.look?.page.close();
    this.look = undefined;
    return (this.now = await watched(this.context));
  }
  async leave() {
    await this.now.page.evaluate(() => (localStorage.clear(), sessionStorage.clear())).catch(() => {});
    // A test may have opened further ones.
    for (const p of this.context.pages()) await p.close();
  }
  async close() {
    await this.context?.close();
    this.context = this.look = undefined;
  }
}

/** visit goes to a path of the console: inside the page when the console is there already
 * and shows another screen, else by loading it. */
async function visit(page, path, lang) {
  const to = new URL(path, world.console);
  const inside = await page.evaluate((want) => location.origin === want.origin && location.pathname !== want.pathname && !!document.querySelector('header nav, nav a') && !!document.querySelector('h1'), { origin: to.origin, pathname: to.pathname }).catch(() => false);
  if (!inside) {
    if (lang) to.searchParams.set('lang', lang);
    await page.goto(to.href);
    return;
  }
  await page.evaluate((at) => {
    document.querySelector('h1').dataset.left = '';
    history.pushState({}, '', at);
  }, to.pathname + to.search);
  await page.waitForFunction(() => !!document.querySelector('h1:not([data-left])'));
  if (lang) await speak(page, lang);
}

/** speak changes the language as people do. */
async function speak(page, lang) {
  if ((await page.evaluate(() => document.documentElement.lang)).startsWith(lang)) return;
  await page.locator(`header button[lang="${lang}"]`).click();
  await page.waitForFunction((l) => document.documentElement.lang.startsWith(l), lang);
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
  { width: 1920, height: 1080 },
];
const tongues = ['en', 'zh'].flatMap((lang) => ['light', 'dark'].map((colorScheme) => ({ lang, colorScheme })));

/** combos are the ways in which a screen is looked at: both languages in both themes, and
 * each size at least once; which size with which differs from screen to screen. With
 * `every` all twelve. */
function combos(name) {
  if (world.every) return tongues.flatMap((t) => sizes.map((size) => ({ ...t, size })));
  const turn = [...name].reduce((n, c) => n + c.codePointAt(0), 0);
  return tongues.map((t, i) => ({ ...t, size: sizes[(i + turn) % sizes.length] }));
}

/** What is found counts when it stays: on a busy machine a colour may be on its way. */
async function audited(page) {
  if (!(await page.evaluate(() => !!window.axe))) await page.evaluate(axeSource);
  // Preloading fetches every style again for one rule that is off.
  const audit = async () => (await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'], preload: false }))).violations.filter((v) => v.impact === 'serious' || v.impact === 'critical');
  let violations = await audit();
  for (let again = 0; violations.length > 0 && again < 5; again++) {
    await page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
    violations = await audit();
  }
  return violations.map((v) => `${v.id} (${v.impact}): ${v.nodes.slice(0, 3).map((n) => `${n.target.join(' ')}: ${n.failureSummary.replace(/\s+/g, ' ')}`).join('; ')}`);
}

/** look goes through a screen in both languages and themes and all sizes: nothing wider
 * than the window, no error, and nothing serious in what axe finds. */
async function look(spec, l, shared) {
  const name = l.name ?? spec;
  const own = l.context ? await fresh(l.context) : await shared.forLook();
  const { page, wrong } = own;
  try {
    const path = typeof l.path === 'function' ? await l.path(world, tools) : l.path;
    looked.add(path.split('?')[0]);
    const found = [];
    const all = combos(name);
    let lang;
    for (const c of all) {
      await page.setViewportSize(c.size);
      await page.emulateMedia({ ...emulated, colorScheme: c.colorScheme });
      if (lang !== c.lang) {
        if (!lang) await visit(page, path, c.lang);
        else if (await page.locator(`header button[lang="${c.lang}"]`).count()) await speak(page, c.lang);
        else await page.goto(`${world.console}${path}${path.includes('?') ? '&' : '?'}lang=${c.lang}`);
        lang = c.lang;
        await settled(page);
        if (l.ready) await l.ready({ page, ...tools });
      }
      // The page follows the system a moment later.
      await page.waitForFunction((want) => (document.documentElement.dataset.mantineColorScheme ?? want) === want, c.colorScheme);
      await settled(page);
      const at = `${lang}, ${c.colorScheme}, ${c.size.width} px`;
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (wide > 1) found.push(`${at}: ${wide} px wider than the window`);
      for (const v of await audited(page)) found.push(`${at}: ${v}`);
      if (c === all[0]) for (const v of await unseen(page)) found.push(`${at}: focus is not seen on ${v}`);
      if (world.keep) await page.screenshot({ path: join(world.out, `${name}-${lang}-${c.colorScheme}-${c.size.width}.png`) });
      if (l.picture && world.update && lang === (l.pictureLang ?? 'en') && c.colorScheme === (l.pictureTheme ?? 'light') && c.size.width === (l.pictureWidth ?? 1280))
        await page.screenshot({ path: join(world.update, `${l.picture}.png`) });
    }
    found.push(...wrong);
    if (found.length) throw new Error([...new Set(found)].join('\n'));
  } catch (e) {
    await shared.close(); // whatever it left is nobody else's
    throw e;
  } finally {
    if (l.context) await own.context.close();
  }
}

/** unseen are the stops of the keyboard on which nobody sees the focus: neither the stop
 * nor what is around it looks other than before. */
async function unseen(page) {
  await page.keyboard.press('Tab'); // the keyboard is in use: :focus-visible holds
  return page.evaluate(() => {
    const style = (el) => {
      const all = [];
      for (let e = el, i = 0; e && i < 4; e = e.parentElement, i++)
        for (const part of [null, '::before', '::after']) {
          const s = getComputedStyle(e, part);
          all.push(s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow, s.borderColor, s.backgroundColor, s.textDecorationLine, s.left);
        }
      // A radio or a switch shows it on what is drawn in its place.
      for (const e of el.parentElement?.children ?? []) if (e !== el) all.push(getComputedStyle(e).outlineStyle, getComputedStyle(e).boxShadow);
      return all.join('|');
    };
    const stops = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')].filter((e) => !e.disabled && e.tabIndex >= 0 && e.getClientRects().length > 0 && e.type !== 'file' && getComputedStyle(e).visibility !== 'hidden');
    document.activeElement?.blur();
    const before = new Map(stops.map((e) => [e, style(e)]));
    const out = [];
    for (const e of stops) {
      e.focus({ preventScroll: true });
      if (document.activeElement === e && style(e) === before.get(e)) out.push(`${e.tagName.toLowerCase()} "${(e.getAttribute('aria-label') ?? e.textContent ?? '').trim().slice(0, 40)}"`);
      e.blur();
    }
    return [...new Set(out)].slice(0, 5);
  });
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
  const work = async (shared) => {
    for (const l of m.looks ?? []) {
      const at = Date.now();
      await bounded(specMost, look(spec, l, shared)).then(
        () => report(spec, `looks ${l.name ?? spec}`, at),
        (e) => report(spec, `looks ${l.name ?? spec}`, at, e),
      );
    }
    for (const [name, step] of Object.entries(m.tests ?? {})) {
      const at = Date.now();
      try {
        const { context, page, wrong } = await shared.forTest();
        try {
          await bounded(specMost, step({ page, context, browser, fresh, audited, visit, settled: () => settled(page), ...tools }));
          if (wrong.length) throw new Error(wrong.join('\n'));
        } catch (e) {
          await page.screenshot({ path: join(world.out, `${spec}-${name.replace(/\W+/g, '-')}-failed.png`) }).catch(() => {});
          throw e;
        } finally {
          await shared.leave();
        }
        report(spec, name, at);
      } catch (e) {
        report(spec, name, at, e);
      }
    }
  };
  // What takes the world long is begun at once; who needs it waits, or fails, then.
  m.early?.(tools).catch(() => {});
  work.alone = !!m.alone;
  work.paths = (m.looks ?? []).map((l) => l.path);
  return work;
}

const only = world.only ? new RegExp(world.only) : /./;
const files = readdirSync(specs).filter((f) => f.endsWith('.mjs') && f !== 'run.mjs' && only.test(f)).sort();
const all = await Promise.all(files.map(run));
const walkers = [new Shared(), new Shared()];
const walk = (queue) => Promise.all(walkers.map(async (shared) => { for (let w; (w = queue.shift()); ) await w(shared); }));
await walk(all.filter((w) => !w.alone));
// A screen of the menu that no spec looks at is looked at all the same.
if (!world.specs && (!world.only || only.test('menu')))
  await walk(
    menu
      .filter((path) => !looked.has(path) && !all.some((w) => w.alone && w.paths.includes(path)))
      .map((path) => async (shared) => {
        const at = Date.now();
        const name = path === '/' ? 'first' : path.slice(1).replaceAll('/', '-');
        await bounded(specMost, look('menu', { name, path }, shared)).then(
          () => report('menu', `looks ${name}`, at),
          (e) => report('menu', `looks ${name}`, at, e),
        );
      }),
  );
// What changes the world for others comes last, one by one.
for (const w of all.filter((x) => x.alone)) await w(walkers[0]);
await browser.close();
