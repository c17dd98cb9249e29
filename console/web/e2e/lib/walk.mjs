// Every screen of the menu and what is asked for besides, one after the other, as it is
// while something is missing.
export async function walk({ page, world, visit, until, name, more = [] }) {
  const menu = await page.$$eval('nav a', (all) => all.map((a) => a.getAttribute('href')));
  const seen = [];
  for (const path of [...menu, ...more]) {
    await visit(page, path, 'en');
    // Nothing stands there loading for ever.
    await until(`${path} says what it knows`, () => page.evaluate(() => !!document.querySelector('h1') && !document.querySelector('[data-loading]')));
    const text = await page.locator('#content').innerText();
    if (world.keep) await page.screenshot({ path: `${world.out}/${name}${path.replaceAll('/', '-')}.png`, fullPage: true });
    seen.push({ path, text });
  }
  return seen;
}

/** whole fails for what no screen may be, whatever is missing. */
export function whole(seen, ok) {
  for (const { path, text } of seen) {
    ok(!/This part of the page broke/.test(text), `${path} is broken: ${text.slice(0, 300)}`);
    ok(!/undefined|NaN|\[object|null\b/.test(text), `${path} shows what is not there: ${/.{0,40}(undefined|NaN|\[object|null\b).{0,40}/.exec(text)?.[0]}`);
    ok(text.length > 60, `${path} says nothing: ${text}`);
  }
}
