// A real stall: a bank takes every order and executes none. The water must rise on the map,
// the sentence must say what waits, and the public page must say so without naming anybody.
export const alone = true;

const bank = 'gh';
const channel = `bank-${bank}`;

export const tests = {
  'a stalled bank is seen on the map and told to the public': async ({ page, world, api, bank: sandbox, until, ok, settled }) => {
    let n = 0;
    const run = `stall-${Date.now()}`;
    // No two alike: who pays the same again under a new key is another trouble.
    const pay = (to = channel) =>
      api('POST', '/v1/payments', { kind: 'payout', from: world.accounts.ann, amount: String(100 + n), asset: 'CZK', channel: to, payee: { account: String(424_242 + n) } }, `${run}-${n++}`);
    const others = ['bank-ab', 'bank-ij', 'bank-kl', 'bank-ab', 'bank-mn'];
    const river = setInterval(() => {
      void pay(others[n % others.length]).catch(() => {});
      void api('POST', '/v1/payments', { kind: 'send', from: world.accounts.ann, to: world.accounts.bob, amount: String(100 + n), asset: 'CZK' }, `${run}-send-${n++}`).catch(() => {});
    }, 400);
    // It has a usual pace first: what never left cannot be late.
    for (let i = 0; i < 8; i++) await pay();
    await page.goto(`${world.console}/?lang=en`);
    await settled(page);
    const hop = () => page.evaluate(async (name) => (await (await fetch('/api/look/map')).json()).hops.find((h) => h.name === name), channel);
    await until('nothing waits there any more', async () => (await hop())?.waits?.items === 0, 180_000);

    await until('the river to flow', async () => (await page.locator('svg path[stroke-dasharray^="0.1"]').count()) >= 4);
    if (world.update) await page.screenshot({ path: `${world.update}/map.png` });
    await page.screenshot({ path: `${world.out}/map-flows.png` });

    await sandbox('PATCH', `/banks/${bank.toUpperCase()}/behaviour`, { execute_delay: { probability: 1, min_ms: 3_600_000, max_ms: 3_600_000 } });
    const more = setInterval(() => void pay().catch(() => {}), 700);
    try {
      const sentence = page.getByRole('status').first();
      await until('the bank is stalled', async () => (await hop())?.state === 'stalled', 180_000);
      await until('the sentence says what waits', async () => /payments? \(.+\) waits? behind bank-\w\w, the oldest for/.test(await sentence.innerText()), 180_000);
      const button = page.locator(`[data-hop="${channel}"][data-state="stalled"]`);
      await button.waitFor();
      ok(/wait/.test(await button.innerText()), 'what waits is counted beside the bank');
      await page.screenshot({ path: `${world.out}/map-stalled.png` });
      if (world.update) await page.screenshot({ path: `${world.update}/map-stalled.png` });
      await button.click();
      await page.getByRole('heading', { name: channel }).waitFor();
      await page.getByText('What is there, by age').waitFor();
      const open = await until('the public page says so', async () => {
        const p = await (await fetch(`${world.console}/public/status.json`)).json();
        return p.now && p;
      });
      ok(!JSON.stringify(open).includes(bank + '"') && !JSON.stringify(open).includes(channel), 'the public page names no bank');
      ok(/second time/.test(open.advice.en), 'it says not to pay again');
    } finally {
      clearInterval(more);
      clearInterval(river);
      await sandbox('PATCH', `/banks/${bank.toUpperCase()}/behaviour`, { execute_delay: { probability: 1, min_ms: 0, max_ms: 0 } });
    }
  },
};
