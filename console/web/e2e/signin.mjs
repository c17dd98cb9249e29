export const looks = [
  { name: 'signin', path: '/signin', context: { storageState: undefined } },
  { name: 'enrol', path: '/enrol', context: { storageState: undefined } },
  { name: 'people', path: '/people', ready: ({ page }) => page.waitForSelector('table tbody tr') },
  { name: 'approvals', path: '/approvals' },
  { name: 'developers', path: '/developers', ready: ({ page }) => page.waitForSelector('table tbody tr') },
  { name: 'developers-answers', path: '/developers?tab=answers', ready: ({ page }) => page.locator('[data-answered]').first().waitFor() },
  { name: 'developers-requests', path: '/developers?tab=requests&find=refund', ready: ({ page }) => page.waitForSelector('button code') },
];

/** Somebody asks for what is not there. */
export const early = ({ api }) => api('GET', '/v1/payments/pay_0000000999999').catch(() => {});

export const tests = {
  'who is not signed in is asked, and comes to the page they asked for': async ({ world, fresh, link, ok }) => {
    const { page, context } = await fresh({ storageState: undefined });
    await page.goto(`${world.console}/developers?tab=events`);
    await page.getByRole('button', { name: 'Sign in with a passkey' }).waitFor();
    ok((await page.evaluate(() => location.pathname)) === '/developers', 'the address stays');
    await page.getByText('Sign in with a one-time link').click();
    await page.getByLabel('One-time link').fill(await link());
    await page.getByRole('button', { name: 'Sign in', exact: true }).last().click();
    await page.getByText('payment.final').first().waitFor();
    await context.close();
  },
  'what the API refused is counted by error': async ({ page, world, ok }) => {
    await page.goto(`${world.console}/developers?lang=en&tab=answers`);
    const one = page.locator('[data-answered="not-found"]');
    await one.waitFor();
    await one.getByRole('button').click();
    await one.getByText('GET /v1/payments/{id}').waitFor();
    ok(await page.getByText(/^Of \d+ requests \d+ were refused\.$/).isVisible(), 'how many of how many');
    await one.getByText('Why, and what to do').click();
    await page.getByRole('searchbox').waitFor();
    ok((await page.getByRole('searchbox').inputValue()) === 'not-found', 'its cause');
  },
  'a request is there as code': async ({ page, world, ok }) => {
    await page.goto(`${world.console}/developers?tab=requests&find=create-payment`);
    await page.getByRole('button', { name: /\/v1\/payments / }).or(page.locator('button', { hasText: '/v1/payments' })).first().click();
    await page.getByRole('button', { name: 'As code' }).first().click();
    const code = page.locator('pre', { hasText: 'curl' }).last();
    await code.waitFor();
    ok((await code.innerText()).includes('Idempotency-Key'), 'with a key that makes it happen once');
  },
  'every tab for developers has what it promises, and its own address': async ({ page, world, until, ok, eq }) => {
    await page.goto(`${world.console}/developers?lang=en`);
    const tab = async (name, path) => {
      await page.getByRole('radiogroup', { name: 'Developers' }).getByText(name, { exact: true }).click();
      await page.waitForURL(`**/developers?*tab=${path}*`);
    };
    const rows = page.locator('table tbody tr');
    await page.getByText('valid', { exact: true }).first().waitFor();
    await tab('Webhooks', 'webhooks');
    await page.getByText('Nobody is told yet').or(page.getByRole('heading', { name: 'Endpoints' })).first().waitFor();
    await tab('Events', 'events');
    await page.getByText('payment.final').first().waitFor();
    ok(/"payment/.test(await page.locator('pre').last().innerText()), 'with one of them whole');
    await tab('Errors', 'errors');
    await page.getByLabel(/^Find among/).waitFor();
    const all = await rows.count();
    ok(all > 40, `each error that there is: ${all}`);
    await page.getByLabel(/^Find among/).fill('insufficient-funds');
    await until('one is found', async () => (await rows.count()) < all);
    ok(/not moved/.test(await rows.first().innerText()), 'it says what became of the money');
    await page.getByLabel(/^Find among/).fill('no such words');
    await page.getByText('Nothing has these words').waitFor();
    await tab('Requests', 'requests');
    await page.getByLabel(/^Find among/).fill('/v1/transfers');
    await page.locator('button', { hasText: '/v1/transfers' }).first().waitFor();
    await tab('Sandbox faults', 'sandbox');
    await page.getByText('as declared').first().or(page.getByRole('combobox').first()).first().waitFor();
    await page.reload();
    eq(new URL(page.url()).searchParams.get('tab'), 'sandbox', 'the address is the place');
    await page.goBack();
    await page.waitForURL('**/developers?*tab=requests*');
    await page.locator('button code').first().waitFor();
  },
  'a bank fails on purpose': async ({ page, world, bank, until, ok }) => {
    await page.goto(`${world.console}/developers?tab=sandbox`);
    const row = page.getByRole('row').filter({ hasText: 'bank-yz' }).or(page.getByRole('row').last());
    const code = (await row.first().locator('code').innerText()).replace('bank-', '');
    await row.first().getByRole('combobox').click();
    await page.getByRole('option', { name: 'sends every callback twice' }).click();
    await until('the bank misbehaves', async () => (await bank('GET', `/banks/${code}/behaviour`)).callback_duplicate === 1);
    await row.first().getByRole('combobox').click();
    await page.getByRole('option', { name: 'as declared' }).click();
    await until('it behaves again', async () => (await bank('GET', `/banks/${code}/behaviour`)).callback_duplicate === 0);
    ok(true, 'and back');
  },
};
