import { chromium } from 'playwright-core';
import { readFileSync } from 'node:fs';
const at = JSON.parse(readFileSync('/var/tmp/inc/data/watch.json'));
const link = async () => (await (await fetch(at.url + '/console/links', { method: 'POST', headers: { Authorization: 'Bearer ' + at.token } })).json()).url;
const b = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
const c = await b.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', locale: 'en-GB' });
const p = await c.newPage();
p.on('pageerror', (e) => console.log('PAGE', String(e)));
p.on('console', (m) => m.type() === 'error' && console.log('CONSOLE', m.text()));
await p.goto(await link());
await p.waitForSelector('nav', { timeout: 60000 });
for (const a of process.argv.slice(2)) {
  const [path, name, opts = ''] = a.split('|');
  const dark = opts.includes('dark'), zh = opts.includes('zh'), small = opts.includes('small');
  await p.setViewportSize(small ? { width: 390, height: 844 } : { width: 1280, height: 900 });
  await p.emulateMedia({ colorScheme: dark ? 'dark' : 'light' });
  await p.goto(at.url + path + (path.includes('?') ? '&' : '?') + 'lang=' + (zh ? 'zh' : 'en'));
  await p.waitForSelector('h1', { timeout: 60000 });
  await p.waitForTimeout(2500);
  await p.screenshot({ path: `/tmp/inc/${name}.png`, fullPage: true });
}
await b.close();
