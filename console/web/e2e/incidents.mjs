// A real trouble in a world of its own: it appears, is named, contained, approved, and
// closes with its proof in the room.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ownWorld } from './own/world.mjs';

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const long = 240_000;

export const looks = [
  { name: 'incidents', path: '/incidents', ready: ({ page }) => page.getByText(/stay in sight|重点指标/).first().waitFor() },
  { name: 'no-incident', path: '/incidents/inc-20000101-000000', ready: ({ page }) => page.getByText(/no incident|没有事故/).first().waitFor() },
];

/** sound looks at the room as it is, in both languages, themes and sizes. */
async function sound(page, own, path, name, { world }, quick = false) {
  const found = [];
  for (const lang of quick ? ['en'] : ['en', 'zh']) {
    await page.goto(`${own.console}${path}?lang=${lang}`);
    await settled(page);
    await page.locator('ol li').first().waitFor();
    await page.evaluate(axeSource);
    for (const size of [{ width: 1280, height: 800 }, { width: 390, height: 844 }])
      for (const colorScheme of ['light', 'dark']) {
        if (quick && (size.width === 390) !== (colorScheme === 'dark')) continue;
        await page.setViewportSize(size);
        await page.emulateMedia({ colorScheme });
        await page.waitForFunction((want) => document.documentElement.dataset.mantineColorScheme === want, colorScheme);
        await settled(page);
        const at = `${name}, ${lang}, ${colorScheme}, ${size.width} px`;
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        if (wide > 1) found.push(`${at}: ${wide} px wider than the window`);
        const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
        for (const v of violations)
          if (v.impact === 'serious' || v.impact === 'critical') found.push(`${at}: ${v.id}: ${v.nodes.slice(0, 3).map((n) => n.target.join(' ')).join('; ')}`);
        if (world.keep) await page.screenshot({ path: join(world.out, `${name}-${lang}-${colorScheme}-${size.width}.png`), fullPage: true });
        if (world.update && lang === 'en' && colorScheme === 'light' && size.width === 1280) await page.screenshot({ path: join(world.update, `${name}.png`) });
      }
  }
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.emulateMedia({ colorScheme: 'light' });
  await page.goto(`${own.console}${path}?lang=en`);
  if (found.length) throw new Error([...new Set(found)].join('\n'));
}

async function settled(page) {
  await page.waitForSelector('h1');
  await page.waitForFunction(() => !document.querySelector('[data-loading]'));
  await page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
}

export const tests = {
  'a trouble appears, is named, contained, ended by a person and closed on its proof': async (t) => {
    const { fresh, until, ok } = t;
    const own = await ownWorld(t);
    let locker;
    let paying = true;
    const { context, page, wrong } = await fresh({ storageState: undefined });
    try {
      const house = (await own.call('POST', '/v1/accounts', { asset: 'CZK', name: 'house', kind: 'house' }, 'admin')).id;
      const ann = (await own.call('POST', '/v1/accounts', { asset: 'CZK', name: 'ann' })).id;
      await own.call('POST', '/v1/payments', { kind: 'send', asset: 'CZK', from: house, to: ann, amount: '100000000' }, 'admin');
      // Somebody pays all the while; while the database is the patient, what fails is tried again.
      const payer = (async () => {
        while (paying) {
          await own.call('POST', '/v1/payments', { kind: 'payout', asset: 'CZK', from: ann, channel: 'bank-ab', payee: { account: '123456', name: 'Jan' }, amount: '1000' }).catch(() => {});
          await new Promise((r) => setTimeout(r, 200));
        }
      })();
      await page.goto(await own.link());
      await page.waitForSelector('nav');
      await page.goto(`${own.console}/incidents?lang=en`);
      await page.getByText('Nothing is wrong now').waitFor({ timeout: long });

      // Somebody else's job keeps the rows that every payment writes.
      locker = own.sql('nightly report', 'begin', 'select 1 from hop_counts for update', 'select pg_sleep(600)');
      const gone = new Promise((r) => locker.on('exit', r));
      const entry = page.locator('a[href^="/incidents/inc-"]').first();
      await entry.waitFor({ timeout: long });
      const path = await entry.getAttribute('href');
      await page.goto(`${own.console}${path}?lang=en`);

      await page.getByText(/At fault is postgres: an outsider/).first().waitFor({ timeout: long });
      ok(await page.getByText(/nightly report/).first().isVisible(), 'the evidence names whose session it is');
      await page.getByText('Some payments take longer than usual', { exact: false }).first().waitFor({ timeout: long });
      ok(/^\d+:\d\d$/.test((await page.getByRole('timer').first().innerText()).trim()), 'what is held says when it ends');
      const approve = page.getByRole('button', { name: 'Approve' });
      await approve.waitFor({ timeout: long });
      // Only a quick look: who waits hurts.
      await sound(page, own, path, 'incident-room', t, true);

      // A preview before a click: nothing is pulled by it.
      await page.getByRole('button', { name: 'Hold something back' }).click();
      await page.getByLabel('Why').last().fill('just looking');
      await page.getByRole('button', { name: 'Show what it would hold back' }).click();
      await page.getByText('This is what it would hold back now').or(page.getByRole('alert')).first().waitFor();
      await page.getByRole('button', { name: 'Cancel' }).click();

      await page.getByLabel('Why').first().fill('the report can run again');
      await approve.click();
      await Promise.race([gone, new Promise((_, no) => setTimeout(() => no(new Error('the session was not ended by the approval')), long))]);
      await page.getByText(/It is over: it took/).first().waitFor({ timeout: long });
      ok(await page.getByText('signature holds', { exact: true }).isVisible(), 'the proof is verified in the room');
      ok(await page.getByText('everything fits', { exact: true }).first().isVisible(), 'the proof is clean');
      await page.getByLabel('Say something').fill('I see it; the report is not urgent');
      await page.getByRole('button', { name: 'Write it down' }).click();
      await page.getByText(/notes: I see it/).waitFor();
      await sound(page, own, path, 'incident-closed', t);
      const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download' }).click()]);
      const proof = readFileSync(await file.path(), 'utf8').split('\n');
      ok(JSON.parse(proof[0]).verdict === 'clean' && JSON.parse(proof[1]).signature, 'the signed file is what was promised');
      const paper = await page.evaluate(async (p) => (await fetch(p)).text(), `/api/look${path}/export/post-mortem?lang=en`);
      ok(/Post-mortem/.test(paper) && /I see it/.test(paper), 'the post-mortem has what people wrote');
      paying = false;
      await payer;
      await until('no error on the page', () => true);
      if (wrong.length) throw new Error(wrong.join('\n'));
    } catch (e) {
      if (t.world.out) await page.screenshot({ path: join(t.world.out, 'incidents-failed.png'), fullPage: true }).catch(() => {});
      throw e;
    } finally {
      paying = false;
      locker?.kill('SIGKILL');
      await context.close();
      await own.end();
    }
  },
};
