// A whole drill, walked in the browser by clicks alone: psp-timeout-full, as `moneta drill`
// makes it. A bank loses its replies and its callbacks. The water is seen on the map, the incident
// is opened from there, the cause stands with its evidence, ann holds more back having seen
// whom it concerns and until when, the runbook is followed, the bank is well again, the
// money is counted anew, and there is a post-mortem to keep.
import { readFileSync } from 'node:fs';
import { code as fresh, enter, person } from '../lib/people.mjs';

export const alone = true;

const code = 'IJ';
const channel = `bank-${code.toLowerCase()}`;
const patient = 240_000;

/** traffic is ten orders a second, to many people: who pays the same one the same again and
 * again looks like a client that is ill. */
function traffic({ api, world }) {
  const run = `drill-${Date.now()}`;
  const t = { n: 0, going: true };
  const order = () => ({ idempotency_key: `${run}-${t.n++}`, kind: 'payout', from: world.accounts.ann, channel, payee: { account: `${70043 + t.n}` }, amount: '100', asset: 'CZK' });
  t.done = (async () => {
    while (t.going) {
      const began = Date.now();
      await api('POST', '/v1/payments/batch', { payments: Array.from({ length: 5 }, order) }).catch(() => {});
      await new Promise((r) => setTimeout(r, Math.max(0, 500 - (Date.now() - began))));
    }
  })();
  return t;
}

/** holdMore is containment by a person: what it would concern, and until when, then the click. */
async function holdMore({ page, ok }) {
  await page.getByRole('button', { name: 'Hold something back' }).click();
  await page.getByLabel('What', { exact: true }).selectOption('pause-dispatch');
  ok((await page.getByLabel('Of whom', { exact: true }).inputValue()) === `channel:${channel}`, 'of the bank that is suspected, not of everybody');
  await page.getByLabel('For', { exact: true }).selectOption('60');
  // A step of the runbook that waits for people asks why, too.
  await page.locator('form', { has: page.getByLabel('Of whom', { exact: true }) }).getByLabel('Why', { exact: true }).fill('nothing new until it answers');
  ok((await page.getByRole('button', { name: 'Do it: pause-dispatch' }).count()) === 0, 'nobody pulls what was not looked at');
  await page.getByRole('button', { name: 'Show what it would hold back' }).click();
  const preview = page.getByRole('status').filter({ hasText: 'This is what it would hold back now' });
  await preview.waitFor();
  const said = await preview.innerText();
  ok(/\d+ open payments/.test(said) && /\d+ a minute/.test(said), `whom it concerns: ${said}`);
  ok(/It ends by itself/.test(said), `until when: ${said}`);
  await page.getByRole('button', { name: 'Do it: pause-dispatch' }).click();
  await page.getByText('nothing new until it answers', { exact: false }).first().waitFor();
  await page.getByRole('timer').first().waitFor();
}

/** kept is the text of a paper that was downloaded. */
async function kept(page, name) {
  await page.getByRole('button', { name: 'Papers' }).click();
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: `${name} (.md)` }).click()]);
  return { name: file.suggestedFilename(), text: readFileSync(await file.path(), 'utf8') };
}

export const tests = {
  'stall appears, is named, contained, repaired, proved': async ({ page, world, api, bank, until, ok, eq }) => {
    page.setDefaultTimeout(patient);
    const ann = person(world, 'ann', '--totp');
    await page.context().clearCookies();
    await page.goto(`${world.console}/?lang=en`);
    await enter(page, ann, until);
    // As the page asks, with what the page has.
    const look = (path) =>
      page.evaluate(async (at) => {
        const res = await fetch(at);
        if (!res.ok) throw new Error(`${at}: ${res.status}`);
        return res.json();
      }, path);
    const now = () => look('/api/watch/now');
    const picture = async (name) => {
      if (!world.update) return;
      await page.evaluate(() => scrollTo(0, 0));
      await page.screenshot({ path: `${world.update}/${name}.png` });
    };
    await until('no other incident', async () => !(await now()).incident, patient);

    const orders = traffic({ api, world });
    try {
      await until('150 orders went through', async () => orders.n >= 150 && (await api('GET', `/v1/payments?channel=${channel}&status=processing&limit=1`)).data.length >= 0, patient);
      await bank('PATCH', `/banks/${code}/behaviour`, {
        lose_reply: 0.3,
        hold: { probability: 1, min_ms: 3000, max_ms: 8000 },
        latency: { probability: 1, min_ms: 6000, max_ms: 8000 },
        callback_lose: 0.2,
        query_lag_ms: 30_000,
      });

      // The map, without loading it again: water behind the bank, and a sentence.
      const id = await until('an incident', async () => (await now()).incident, patient);
      const hop = page.locator(`[data-hop="${channel}"]`).first();
      await until('the water behind the bank', async () => /\d+ (wait|there)/.test(await hop.innerText()) && (await hop.getAttribute('data-state')) !== 'fine', patient);
      await until('a sentence about the bank', async () => (await page.getByRole('status').first().innerText()).includes(channel), patient);
      await page.locator(`dl a[href="/incidents/${id}"]`).click();
      await page.waitForFunction((at) => location.pathname === at, `/incidents/${id}`);

      const incident = () => look(`/api/watch/incidents/${id}`);
      const reached = (stage) => until(stage, async () => (await incident()).stages[stage], patient);
      const done = (count) => page.waitForFunction((k) => document.querySelectorAll('ol[aria-label="How far it has come"] > li[data-done]').length >= k, count, { timeout: patient });

      // What it is, and what speaks for and against it.
      await reached('diagnosed');
      await done(2);
      const named = (await incident()).first_answer.ranked[0];
      ok(named.node === channel, `the bank is named, not ${named.node}`);
      const evidence = page.getByRole('list', { name: new RegExp(`^Evidence: ${channel}`) }).first();
      await evidence.getByRole('img', { name: 'speaks for it' }).first().waitFor();
      await page.getByText('Never do this').waitFor();
      await page.getByText('The check that would tell most').waitFor();

      // What the runbook did by itself.
      await reached('contained');
      await done(3);
      const step = (name) => page.locator('li').filter({ has: page.getByText(name, { exact: false }) });
      await step('nothing-new').getByText(/done and verified|done, being checked/).first().waitFor();

      // What asks the bank takes somebody who agrees, with a reason and a code.
      const waits = step('ask').filter({ has: page.getByRole('button', { name: 'Approve' }) });
      const yes = waits.getByRole('button', { name: 'Approve' });
      await yes.waitFor();
      ok(await yes.isDisabled(), 'nobody agrees without a reason');
      await waits.getByLabel('Why', { exact: true }).fill('asking moves nothing');
      await waits.getByLabel('Code it shows now').fill(await fresh(ann, until));
      await yes.click();
      await page.getByRole('list', { name: 'What happened' }).getByText('asking moves nothing', { exact: false }).waitFor();

      // And she holds more back than the doctor does.
      await holdMore({ page, ok });
      await page.getByLabel('Say something').fill('their desk is called');
      await page.getByRole('button', { name: 'Write it down' }).click();
      await page.getByRole('list', { name: 'What happened' }).getByText('their desk is called', { exact: false }).waitFor();
      await picture('incident');

      // The bank is well again: she lets go, and what was asked is known.
      await bank('PUT', `/banks/${code}/behaviour`, {});
      await bank('POST', `/banks/${code}/callbacks/flush`);
      await page.locator('div').filter({ hasText: /^pause-dispatch/ }).filter({ has: page.getByRole('button', { name: 'Let go' }) }).last().getByRole('button', { name: 'Let go' }).click();
      await until('it is let go', async () => !(await look('/api/look/levers')).held.some((l) => l.lever === 'pause-dispatch'));
      await reached('repaired');
      await done(4);
      await step('ask').getByText(/done and verified|done, being checked|not needed any more/).first().waitFor();
      orders.going = false;
      await reached('proved');
      await done(5);
      const closed = await until('it is closed', async () => {
        const i = await incident();
        return i.closed_at && i;
      }, patient);
      ok(closed.proof.clean, `the count is clean: ${JSON.stringify(closed.proof.found)}`);
      await page.getByText('everything fits').first().waitFor();
      await page.getByText('signature holds').first().waitFor();
      await picture('incident-proved');

      // What is left to do is somebody's, also after the end, and overdue things are seen at home.
      await page.getByRole('button', { name: /^Owner and day of: Complete this draft/ }).click();
      await page.getByLabel('Owner', { exact: true }).fill('dora');
      await page.getByLabel('By (UTC)').fill('2020-01-31');
      await page.locator('[data-follow-ups]').getByRole('button', { name: 'Write it down' }).click();
      await page.locator('[data-follow-up="f-post"]').getByText('overdue since 2020-01-31').waitFor();
      await page.locator('[data-follow-ups]').getByRole('button', { name: 'Add', exact: true }).click();
      await page.getByLabel('What is to be done').fill('ask the bank for a second line');
      await page.getByLabel('What is to be done').press('Enter');
      await page.locator('[data-follow-ups]').getByText('ask the bank for a second line').waitFor();

      if (world.keep) await page.screenshot({ path: `${world.out}/follow-ups.png`, fullPage: true });

      // What is left to tell.
      const mortem = await kept(page, 'Post-mortem');
      ok(/\.md$/.test(mortem.name), mortem.name);
      for (const what of [id, channel, 'their desk is called', 'asking moves nothing', 'pause-dispatch', 'dora', '2020-01-31', 'a second line']) ok(mortem.text.includes(what), `the post-mortem tells of ${what}`);
      for (const name of ['Checklist', 'Hot fix, step by step', 'Runbook']) {
        const paper = await kept(page, name);
        ok(/^#/m.test(paper.text) && paper.text.includes(channel), `${name} is about this: ${paper.text.slice(0, 200)}`);
      }
      await page.getByRole('link', { name: 'Incidents' }).first().click();
      await page.locator(`a[href="/incidents/${id}"]`).getByText('closed, proved').waitFor();
      await page.getByText('2 open, 1 overdue').waitFor();
      await page.getByLabel('Done: ask the bank for a second line').click();
      await page.getByText('1 open, 1 overdue').waitFor();
      eq((await look('/api/watch/now')).incident ?? '', '', 'nothing is open');
    } finally {
      orders.going = false;
      await orders.done;
      await bank('PUT', `/banks/${code}/behaviour`, {}).catch(() => {});
    }
  },

  'by Tab and Enter alone: from the map to a payment and to the incident': async ({ page, world, until, settled }) => {
    // Tab goes on until it stands on what is looked for; nobody needs more stops than there are.
    const press = async (selector) => {
      await page.locator(selector).first().waitFor();
      const stops = await page.evaluate(() => document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]').length);
      for (let i = 0; i <= 2 * stops; i++) {
        await page.keyboard.press('Tab');
        if (await page.evaluate((s) => document.activeElement?.matches(s), selector)) return page.keyboard.press('Enter');
      }
      throw new Error(`Tab does not reach ${selector} within ${2 * stops} stops`);
    };
    const at = (path) => until(path, () => new RegExp(path).test(new URL(page.url()).pathname));
    await page.goto(`${world.console}/?lang=en`);
    await settled();
    await press(`[data-hop="dispatch"]`);
    await page.getByRole('heading', { name: 'Dispatch' }).waitFor();
    await press('nav a[href="/payments"]');
    await at('^/payments$');
    await press('td a[href^="/payments/pay_"]');
    await at('^/payments/pay_');
    await page.getByText('What comes next by itself').waitFor();
    await press('nav a[href="/incidents"]');
    await at('^/incidents$');
    await press('a[href^="/incidents/inc-"]');
    await at('^/incidents/inc-');
    await page.getByRole('list', { name: 'How far it has come' }).waitFor();
  },
};
