// The books as they are and as they were; every transfer sums to zero.
export const looks = [
  { name: 'ledger', path: (w) => `/ledger?account=${w.accounts.ann}&span=1h`, picture: 'ledger', ready: async ({ page }) => { await page.getByTestId('available').waitFor(); await page.getByRole('table').first().waitFor(); } },
];

export const tests = {
  'the slider shows an older balance, and the link keeps it': async ({ page, world, api, eq, until }) => {
    const account = await api('POST', '/v1/accounts', { asset: 'CZK', name: 'slider' }, 'ledger spec account');
    await api('POST', '/v1/payments', { kind: 'send', from: world.accounts.house, to: account.id, amount: '123456', asset: 'CZK' }, 'ledger spec 1', 'admin');
    await page.goto(`${world.console}/ledger?lang=en&account=${account.id}&span=1h`);
    const available = page.getByTestId('available');
    await until('the balance of now', async () => (await available.innerText()).startsWith('1,234.56'));
    await page.getByRole('slider').focus();
    await page.keyboard.press('Home');
    await page.waitForURL('**as_of=**');
    await until('the balance of an hour ago', async () => (await available.innerText()).startsWith('0.00'));
    await page.reload();
    await until('the same with the link', async () => (await available.innerText()).startsWith('0.00'));
    await page.getByRole('button', { name: 'Back to now' }).click();
    await until('now again', async () => (await available.innerText()).startsWith('1,234.56'));
    eq(new URL(page.url()).searchParams.get('as_of'), null, 'the address');
  },
  'sums are zero, invariants hold, and a transfer is two sides of one amount': async ({ page, world, ok, until }) => {
    await page.goto(`${world.console}/ledger?lang=en`);
    const sum = page.getByTestId('sum-CZK');
    await sum.waitFor();
    ok(/\s0\.00\sCZK/.test(await sum.innerText()), 'the sum of all books is zero');
    await page.getByText('invariants hold').waitFor();
    await page.getByRole('button', { name: /^#\d+$/ }).first().click();
    await page.getByText('Both sides together: 0.00 CZK').waitFor();
    const figures = await until('both sides', async () => {
      const all = await page.getByRole('group', { name: /→/ }).innerText();
      const out = /leaves\s*\u2212([\d,.]+)/.exec(all)?.[1];
      const back = /arrives\s*\+([\d,.]+)/.exec(all)?.[1];
      return out && back ? [out, back] : undefined;
    });
    ok(figures[0] === figures[1], `what leaves arrives: ${figures}`);
  },
  'a holder is found by name': async ({ page, world }) => {
    await page.goto(`${world.console}/ledger?lang=en`);
    await page.getByLabel('Find a holder by name').fill('bo');
    await page.waitForURL('**q=bo**');
    await page.getByRole('button', { name: 'bob', exact: true }).click();
    await page.waitForURL(`**account=${world.accounts.bob}**`);
    await page.getByTestId('available').waitFor();
  },
};
