// How long each hop took, as a distribution, and whose the time of the slowest was.
export const looks = [{
  name: 'latency',
  path: '/latency',
  ready: async ({ page, world, api }) => {
    await api('POST', '/v1/payments', { kind: 'send', from: world.accounts.ann, to: world.accounts.bob, amount: '100', asset: 'CZK' }, 'look-latency');
    await page.waitForSelector('svg[role=img] rect');
  },
  picture: 'latency',
}];

export const tests = {
  'a row of the distribution leads to a payment and its hops': async ({ page, world, api }) => {
    const p = await api('POST', '/v1/payments', { kind: 'send', from: world.accounts.ann, to: world.accounts.bob, amount: '100', asset: 'CZK' }, 'spec-latency');
    // It is known when its own page shows the trace.
    await page.goto(`${world.console}/payments/${p.id}?lang=en`);
    await page.locator('section', { hasText: 'Hop by hop, from its trace' }).locator('svg[role=img] rect').first().waitFor();
    await page.goto(`${world.console}/latency?lang=en&hop=api`);
    await page.getByText('Whose the time of the slowest payments was').waitFor();
    await page.getByText('The same as a table, with an example each').click();
    await page.getByRole('button', { name: /Open a payment that took/ }).first().click();
    await page.waitForFunction(() => /^\/payments\/pay_/.test(location.pathname) || document.querySelector('[role=status] a[href*="/payments/"]'));
    if (new URL(page.url()).pathname === '/latency') await page.getByRole('status').getByRole('link').click();
    await page.waitForURL(/\/payments\/pay_/);
    await page.getByText('Hop by hop, from its trace').waitFor();
  },
};
