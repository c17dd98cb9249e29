export const looks = [{ name: 'finance', path: '/finance', picture: 'finance', ready: async ({ page }) => { await page.getByTestId('total-debit').waitFor(); await page.locator('svg[role=img]').first().waitFor(); } }];

export const tests = {
  'both sides of the trial balance are equal, now and before anything was': async ({ page, world, ok, eq, until }) => {
    await page.goto(`${world.console}/finance?lang=en`);
    const total = async (side) => (await page.getByTestId(`total-${side}`).innerText()).trim();
    await page.getByTestId('total-debit').waitFor();
    const [debit, credit] = [await total('debit'), await total('credit')];
    eq(debit, credit, 'debits and credits');
    ok(!debit.startsWith('0.00'), 'there is something');
    await page.getByLabel('Through day (UTC)').first().fill('2020-01-31');
    await until('nothing was then', () => page.getByText('Nothing was posted until then.').first().isVisible());
    await page.getByRole('button', { name: 'Now', exact: true }).click();
    await page.getByTestId('total-debit').waitFor();
  },
};
