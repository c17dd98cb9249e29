// A whole drill, walked in the browser: a bank loses its replies and its callbacks, the
// stall appears, is named, contained, repaired when the bank is well again, and proved.
export const alone = true;

const code = 'IJ';
const channel = `bank-${code.toLowerCase()}`;

export const tests = {
  'stall appears, is named, contained, repaired, proved': async ({ page, world, api, bank, until, ok, settled }) => {
    // As the page asks, with what the page has.
    const look = (path) =>
      page.evaluate(async (at) => {
        const res = await fetch(at);
        if (!res.ok) throw new Error(`${at}: ${res.status}`);
        return res.json();
      }, path);
    await page.goto(`${world.console}/incidents?lang=en`);
    await settled();
    const now = () => look('/api/watch/now');
    const patient = 240_000;
    await until('no other incident', async () => !(await now()).incident, patient);

    // Ten orders a second, so that the bank has a usual pace before it breaks.
    let n = 0;
    let going = true;
    const run = `drill-${Date.now()}`;
    // To many people: who pays the same one the same again and again looks like a client that is ill.
    const order = () => ({ idempotency_key: `${run}-${n++}`, kind: 'payout', from: world.accounts.ann, channel, payee: { account: `${70043 + n}` }, amount: '100', asset: 'CZK' });
    const traffic = (async () => {
      while (going) {
        const began = Date.now();
        await api('POST', '/v1/payments/batch', { payments: Array.from({ length: 5 }, order) }).catch(() => {});
        await new Promise((r) => setTimeout(r, Math.max(0, 500 - (Date.now() - began))));
      }
    })();
    try {
      await until('150 orders went through', async () => n >= 150 && (await api('GET', `/v1/payments?channel=${channel}&status=processing&limit=1`)).data.length >= 0, patient);
      await bank('PATCH', `/banks/${code}/behaviour`, {
        lose_reply: 0.45,
        hold: { probability: 1, min_ms: 2500, max_ms: 4000 },
        callback_lose: 0.5,
        callback_delay: { probability: 1, min_ms: 3000, max_ms: 6000 },
        query_lag_ms: 4000,
      });

      const id = await until('an incident', async () => (await now()).incident, patient);
      const link = page.locator(`a[href="/incidents/${id}"]`);
      await link.first().waitFor({ timeout: patient }); // without loading the page again
      await link.first().click();
      await page.waitForFunction((at) => location.pathname === at, `/incidents/${id}`);
      const incident = () => look(`/api/watch/incidents/${id}`);
      const reached = (stage) => until(stage, async () => (await incident()).stages[stage], patient);
      const done = (count) => page.waitForFunction((k) => document.querySelectorAll('ol[aria-label] > li[data-done]').length >= k, count, { timeout: patient });

      await reached('diagnosed');
      await done(2);
      const named = (await incident()).first_answer.ranked[0];
      ok(named.node === channel, `the bank is named, not ${named.node}`);
      await page.getByText(channel).first().waitFor();
      await reached('contained');
      await done(3);
      if (world.update) await page.screenshot({ path: `${world.update}/incident.png` });

      await bank('PUT', `/banks/${code}/behaviour`, {});
      await bank('POST', `/banks/${code}/callbacks/flush`);
      await reached('repaired');
      await done(4);
      going = false;
      await reached('proved');
      await done(5);
      const closed = await until('it is closed', async () => {
        const i = await incident();
        return i.closed_at && i;
      }, patient);
      ok(closed.proof.clean, `the count is clean: ${JSON.stringify(closed.proof.found)}`);
      await page.getByText('everything fits').first().waitFor({ timeout: patient });
      if (world.update) await page.screenshot({ path: `${world.update}/incident-proved.png` });
    } finally {
      going = false;
      await traffic;
      await bank('PUT', `/banks/${code}/behaviour`, {}).catch(() => {});
    }
  },
};
