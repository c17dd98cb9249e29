// Payments, one payment, and the page of the person whose payment it is.
const holderLink = async (api, id) => (await api('POST', `/v1/payments/${id}/link`, { days: 30 })).path;

/** unknown makes a payout whose bank loses its reply and knows nothing of it when asked. */
async function unknown({ api, bank, world, until }, key) {
  await bank('PATCH', '/banks/WX/behaviour', { lose_reply: 1, callback_lose: 1, query_lag_ms: 3_600_000, execute_delay: { probability: 1, min_ms: 3_600_000, max_ms: 3_600_000 } });
  const p = await api('POST', '/v1/payments', { kind: 'payout', from: world.accounts.ann, channel: 'bank-wx', payee: { account: '123456', name: 'Jan' }, amount: '50000', asset: 'CZK' }, key);
  await until('the payment is unknown', async () => (await api('GET', `/v1/payments/${p.id}`)).state === 'unknown');
  return p.id;
}

export const looks = [
  { name: 'payments', path: '/payments', ready: ({ page }) => page.waitForSelector('table tbody tr a'), picture: 'payments' },
  {
    name: 'payment',
    path: (w, tools) => unknown(tools, 'look-unknown').then((id) => `/payments/${id}`),
    ready: async ({ page }) => {
      await page.waitForSelector('svg[role=img] rect');
      await page.waitForFunction(() => document.querySelectorAll('ol details summary').length >= 12);
    },
    picture: 'payment',
  },
  {
    name: 'payment-holder',
    path: (w, { api }) => holderLink(api, w.payments.processing),
    ready: ({ page }) => page.waitForSelector('#story li'),
    picture: 'payment-holder',
    pictureWidth: 390,
  },
];

export const tests = {
  'each fate is told in words, and its postings sum to zero': async ({ page, world, ok }) => {
    const told = {
      succeeded: [/Succeeded\. The bank has confirmed/, 'Succeeded'],
      failed: [/Not completed, money returned/, 'Failed'],
      processing: [/Your .* is safe: sent to the bank|Taking longer/, 'With the bank'],
      held: [/Reserved, not taken yet/, 'Reserved'],
      refunded: [/Refund/, 'Succeeded'],
    };
    for (const [name, [words, state]] of Object.entries(told)) {
      await page.goto(`${world.console}/payments/${world.payments[name]}?lang=en`);
      await page.locator('h1', { hasText: 'CZK' }).waitFor();
      await page.getByText(words).first().waitFor();
      await page.getByText(state, { exact: true }).first().waitFor();
      await page.getByText('All postings sum to zero').waitFor();
      await page.waitForFunction(() => document.querySelectorAll('ol details summary').length >= 12);
      ok((await page.getByText(/^12\. /).count()) === 1, 'the twelfth question has its tile');
    }
    await page.goto(`${world.console}/payments/${world.payments.failed}?lang=en`);
    await page.getByText('account_closed').first().waitFor();
    await page.goto(`${world.console}/payments/pay_nonsense?lang=en`);
    await page.getByText('This is not the id of a payment').waitFor();
  },

  'an unknown payment says what comes next, and promises nothing': async ({ page, world, ok, ...tools }) => {
    const id = await unknown({ world, ...tools }, 'spec-unknown');
    await page.goto(`${world.console}/payments/${id}?lang=en`);
    await page.getByText('The channel is asked what became of it').waitFor();
    await page.getByText(/the longest stretch is “Unknown”/).first().waitFor();
    await page.getByText('Please do not pay again').first().waitFor();
    const holder = page.locator('section', { hasText: 'What the holder sees' });
    await holder.getByText('中文', { exact: true }).click();
    await holder.getByText('正在向银行核实').first().waitFor();
    await holder.getByText('请勿重复支付').first().waitFor();
    // What is to be done says first what comes of it; by a one-time link nothing is changed.
    await page.getByRole('button', { name: 'Ask the channel now' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText(/sends nothing again/).waitFor();
    await dialog.getByText(/one-time link/).waitFor();
    ok(await dialog.getByRole('button', { name: 'Ask now' }).isDisabled(), 'who only reads cannot');
  },

  'its trace says whose the time was, and marks the slow hop': async ({ page, world, api }) => {
    const p = await api('POST', '/v1/payments', { kind: 'payout', from: world.accounts.ann, channel: world.channel, payee: { account: '123456', name: 'Jan' }, amount: '900', asset: 'CZK' }, 'spec-trace');
    await page.goto(`${world.console}/payments/${p.id}?lang=en`);
    const panel = page.locator('section', { hasText: 'Hop by hop, from its trace' });
    await panel.getByText(/The slow hop is|No hop stands out/).first().waitFor();
    await panel.locator('svg[role=img] rect').nth(3).waitFor();
    await panel.getByRole('list', { name: 'Whose the time was' }).getByText("the ledger's writer").waitFor();
    await panel.getByText(`moneta trace ${p.id}`).waitFor();
  },

  'a receipt is verified here, and a changed one is not': async ({ page, world, api, ok }) => {
    const id = world.payments.succeeded;
    const newest = await api('GET', `/v1/payments/${id}/receipt`);
    await page.goto(`${world.console}/payments/${id}?lang=en`);
    const panel = page.locator('section', { has: page.getByRole('heading', { name: 'Receipts', exact: true }) });
    await panel.getByRole('button', { name: 'Verify' }).first().click();
    await panel.getByText('It was carried out.').waitFor();
    const [saved] = await Promise.all([page.waitForEvent('download'), panel.getByRole('button', { name: 'Save' }).first().click()]);
    ok(saved.suggestedFilename() === `receipt-${id}-${newest.id}.jws`, saved.suggestedFilename());
    const check = (text) => panel.locator('input[type=file]').setInputFiles({ name: 'receipt.jws', mimeType: 'application/jose', buffer: Buffer.from(text) });
    const [head, body, tail] = newest.jws.split('.');
    const lie = Buffer.from(Buffer.from(body, 'base64url').toString().replace(/"amount":"\d+"/, '"amount":"99999900"')).toString('base64url');
    await check([head, lie, tail].join('.'));
    await panel.getByText('It was changed, or never signed.').waitFor();
    // Another payment's is genuine, and said to be another's; what is open proves no outcome.
    const other = await api('GET', `/v1/payments/${world.payments.processing}/receipt`);
    await check(`${other.jws}\n`);
    await panel.getByText('It is about another payment:').waitFor();
    await panel.getByText(/This proves no outcome/).waitFor();
    // Its holder saves it behind the link, without a script.
    const holder = await page.context().request.get(`${world.console}${await holderLink(api, id)}/receipt`);
    ok((await holder.text()) === newest.jws && /attachment/.test(holder.headers()['content-disposition']), 'the holder has the same');
  },

  'whatever is pasted opens the payment': async ({ page, world, api }) => {
    const p = await api('POST', '/v1/payments', { kind: 'send', from: world.accounts.ann, to: world.accounts.bob, amount: '700', asset: 'CZK' }, 'order 4711/e2e');
    const status = await api('GET', `/v1/payments/${p.id}/status`);
    for (const name of [p.id, status.reference.toLowerCase(), 'order 4711/e2e', p.trace_id]) {
      await page.goto(`${world.console}/payments?lang=en`);
      await page.getByLabel('Find by any id').fill(name);
      await page.getByRole('button', { name: 'Find', exact: true }).click();
      await page.waitForURL(new RegExp(`/payments/${p.id}`));
    }
    await page.goto(`${world.console}/payments?lang=en`);
    await page.getByLabel('Find by any id').fill('nobody has this');
    await page.keyboard.press('Enter');
    await page.getByText('Nothing has this name').waitFor();
  },

  'filters are the address': async ({ page, world, ok }) => {
    await page.goto(`${world.console}/payments?lang=en`);
    await page.getByLabel('State', { exact: true }).selectOption('failed');
    await page.waitForURL(/state=failed/);
    await page.waitForFunction(() => [...document.querySelectorAll('tbody tr td:first-child')].every((td) => td.textContent === 'Failed'));
    await page.reload();
    await page.waitForSelector('tbody tr a');
    const all = await page.locator('tbody tr:not([aria-hidden]) td:first-child').allInnerTexts();
    ok(all.length > 0 && all.every((s) => s === 'Failed'), `only failed ones: ${all}`);
    ok((await page.getByLabel('State', { exact: true }).inputValue()) === 'failed', 'the filter is shown');
  },

  'one click asks for a person, without a script': async ({ browser, page, world, api, ok }) => {
    const id = world.payments.processing;
    const path = await holderLink(api, id);
    const context = await browser.newContext({ javaScriptEnabled: false, locale: 'zh-CN', viewport: { width: 390, height: 844 } });
    context.setDefaultTimeout(90_000);
    try {
      const holder = await context.newPage();
      const res = await holder.goto(world.console + path);
      ok(/no-store/.test(res.headers()['cache-control']) && /noindex/.test(res.headers()['x-robots-tag']), 'nobody keeps or indexes it');
      await holder.getByText('请勿重复支付').first().waitFor();
      ok(!/bank-cd|Jan/.test(await holder.content()), 'no channel and no names');
      await holder.getByRole('button', { name: '一键申诉' }).click();
      const said = await holder.getByText(/您的工单号:C-\d{4}-\d+。由客服团队处理/).innerText();
      const number = /C-\d{4}-\d+/.exec(said)[0];
      await holder.goto(`${world.console + path}?lang=en`);
      await holder.getByText(`A person has it: case ${number}.`).waitFor();
      // Support sees the case on the same payment.
      await page.goto(`${world.console}/payments/${id}?lang=en`);
      await page.getByText(number).first().waitFor();
      // Another token is no way in.
      const wrong = await holder.goto(`${world.console}${path.slice(0, -3)}AAA?lang=en`);
      ok(wrong.status() === 404, 'a wrong token is not found');
      await holder.getByText('This link is not valid').waitFor();
    } finally {
      await context.close();
    }
  },

  'the page follows the payment by itself': async ({ page, world, api }) => {
    const hold = await api('POST', '/v1/payments', { kind: 'hold', from: world.accounts.ann, to: world.accounts.bob, amount: '4200', asset: 'CZK' }, 'spec-hold');
    await page.goto(`${world.console}${await holderLink(api, hold.id)}?lang=en`);
    await page.getByRole('heading', { name: 'Reserved, not taken yet' }).waitFor();
    await api('POST', `/v1/payments/${hold.id}/release`);
    await page.getByRole('heading', { name: 'Released, nothing was taken' }).waitFor();
    await page.getByText('What was not taken went back to the balance.').waitFor();
  },
};
